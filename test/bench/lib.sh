# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# How the benches measure (sourced by test/bench/run): sizes, statements, alternating repetitions, ratios and how they are printed.

# scaled N: that many rows at this SCALE, but no fewer than 1,000.
scaled() { awk -v n="$1" -v scale="$scale" 'BEGIN { n = int(n * scale); print (n < 1000 ? 1000 : n) }'; }

# seconds N: how long something is to run at this SCALE, 2 seconds at least.
seconds() { awk -v n="$1" -v scale="$scale" 'BEGIN { m = int(n * scale + 0.5); print (m < 2 ? 2 : m > n ? n : m) }'; }

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# timed STATEMENT: runs it in a session of its own; prints its milliseconds.
timed() { sql -c '\timing on' -c "$1" | awk '/^Time: / { ms = $2 } END { print ms }'; }

# settle TABLE...: all set-up is on disk, statistics and visibility map are there.
settle() {
	local tables="$*"
	[ $# = 0 ] || sql -c "VACUUM (ANALYZE) ${tables// /, }"
	sql -c CHECKPOINT
}

median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

declare -A measured=() series=()

# alternate REPETITIONS VARIANT...: calls measure_VARIANT in turns, every second round in the reverse order; each prints one figure. Leaves the
# figures in series[VARIANT], summarized.
alternate() {
	local repetitions=$1 variant i figure
	local -a order reversed=()
	shift
	for variant; do
		series[$variant]=
		reversed=("$variant" "${reversed[@]}")
	done
	for ((i = 0; i < repetitions; i++)); do
		[ $((i % 2)) = 0 ] && order=("$@") || order=("${reversed[@]}")
		for variant in "${order[@]}"; do
			figure=$("measure_$variant")
			[[ $figure =~ ^[0-9.]+$ ]] || die "$variant gave no figure: $figure"
			series[$variant]+=" $figure"
		done
	done
	summarize "$@"
}

# summarize VARIANT...: from the figures in series[VARIANT], medians in measured[VARIANT], and in measured[VARIANT range] the lowest and the highest.
summarize() {
	local variant
	for variant; do
		# shellcheck disable=SC2086 # a list of numbers
		measured[$variant]=$(median ${series[$variant]})
		# shellcheck disable=SC2086
		measured[$variant range]=$(printf '%s\n' ${series[$variant]} | sort -g |
			awk 'NR == 1 { low = $1 } END { printf "%.0f to %.0f", low, $1 }')
	done
}

# paired A B: the median of the ratios A / B of the rounds of `alternate`. A machine that is slow for a while is so for both sides of a round.
paired() {
	# shellcheck disable=SC2046,SC2086 # lists of numbers
	printf '%.3f' "$(median $(paste -d' ' <(printf '%s\n' ${series[$1]}) <(printf '%s\n' ${series[$2]}) | awk '{ print $1 / $2 }'))"
}

# figure VARIANT UNIT: "3919 ms (3802 to 4011)".
figure() { printf "%.0f %s (%s)" "${measured[$1]}" "$2" "${measured[$1 range]}"; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }

# result NAME RATIO TEXT: the line for programs and the line for people, with the bound of `bounds` and whether it is met.
result() {
	local bound=${bounds[$1]-} verdict='no bound'
	if [ -n "$bound" ]; then
		verdict=$(awk -v x="$2" -v how="${bound%% *}" -v y="${bound#* }" 'BEGIN {
			met = how == "<=" ? x <= y : x >= y
			printf "at %s %s: %s", how == "<=" ? "most" : "least", y, met ? "met" : "NOT met" }')
	fi
	printf 'bench %s %s\n    %s. %s. make bench BENCH=%s%s\n' "$1" "$2" "$verdict" "$3" "$1" "$([ "$scale" = 1 ] || echo " SCALE=$scale")"
}

# wanted NAME: was this one asked for?
wanted() { [[ " $chosen " == *" $1 "* ]]; }

# server NAME=VALUE...: a fresh server for one figure, with these settings on top of the common ones.
server() {
	local env
	[ ! -e "$tmp/server" ] || stop_server
	env=$(test/server start "$tmp/server" shared_buffers=2GB max_wal_size=8GB min_wal_size=2GB checkpoint_timeout=30min jit=off \
		maintenance_work_mem=512MB "$@") || die "no server to measure on"
	eval "$env"
	export PGOPTIONS='-c client_min_messages=warning'
	sql -c 'CREATE EXTENSION lifecycle' -f test/bench/shop.sql
}
