# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# Figures 1 to 3: what capture costs those who insert events, in bulk and row by row.

ingest_columns='(customer_id, name, occurred_at, properties)'

set_up_ingest() {
	customers=$(scaled 200000)
	server autovacuum=off
	sql -v customers="$customers" -v events="$(scaled 1000000)" -f test/bench/ingest.sql -f test/bench/by_hand.sql >/dev/null
}

# fresh SCHEMA: empty events, and for those who keep one the state as it was.
fresh() {
	local state
	case $1 in bare) state=NULL ;; ours) state="'customer'" ;; hand) state="'hand'" ;; esac
	sql -c "CALL bench.reset('$1', $state)"
	if [ "$1" = bare ]; then settle bare.events; else settle "$1.events" "${state//\'/}.subjects" "${state//\'/}.transitions"; fi
}

# The same rows must have come out of it.
compare_writes() {
	local counts
	counts=$(sql -c "SELECT string_agg(n::text, ' ' ORDER BY n) FROM (
		SELECT abs((SELECT count(*) FROM customer.transitions) - (SELECT count(*) FROM hand.transitions)) AS n
		UNION ALL SELECT abs((SELECT count(*) FROM customer.enrollments) - (SELECT count(*) FROM hand.enrollments))
		UNION ALL SELECT abs((SELECT count(*) FROM customer._due) - (SELECT count(*) FROM hand._due))) AS d")
	[ "$counts" = '0 0 0' ] || die "ours and by hand did not write the same rows: differences $counts"
	written=$(sql -c "SELECT format('%s transitions, %s enrollments', (SELECT count(*) FROM customer.transitions WHERE seq > 1),
		(SELECT count(*) FROM customer.enrollments))")
}

# Figure 1. A round is the same events on both sides, in slices that take turns in one session: processors that have neighbors change their speed
# within seconds, by more than what is to be seen here.
slices=100
slice_up() {
	local i size
	size=$(($(scaled 1000000) / slices))
	for ((i = 1; i <= slices; i++)); do
		sql -c "CREATE UNLOGGED TABLE bench.slice_$i AS SELECT * FROM bench.unlistened OFFSET $(((i - 1) * size)) LIMIT $size" \
			-c "COPY bench.slice_$i TO '$tmp/server/slice_$i.copy'"
	done
}
insert_slice() { echo "INSERT INTO $1.events $ingest_columns SELECT * FROM bench.slice_$2;"; }
copy_slice() { echo "COPY $1.events $ingest_columns FROM '$tmp/server/slice_$2.copy';"; }

# interleave ROUNDS KIND: leaves in series, summarized, what KIND_slice takes for bare and ours.
interleave() {
	local rounds=$1 kind=$2 round i side script times
	local -a sides order
	series[bare]='' series[ours]=''
	for ((round = 0; round < rounds; round++)); do
		fresh bare
		fresh ours
		script='\timing on' order=()
		for ((i = 1; i <= slices; i++)); do
			[ $(((round + i) % 2)) = 0 ] && sides=(bare ours) || sides=(ours bare)
			for side in "${sides[@]}"; do
				script+=$'\n'$("${kind}_slice" "$side" "$i")
				order+=("$side")
			done
		done
		times=$(sql <<<"$script" | awk '/^Time: / { print $2 }')
		for side in bare ours; do
			series[$side]+=" $(paste <(printf '%s\n' "${order[@]}") <(echo "$times") | awk -v side="$side" '$1 == side { ms += $2 } END { print ms }')"
		done
	done
	summarize bare ours
}

figure_1() {
	set_up_ingest
	slice_up
	if wanted ingest_unlistened; then
		interleave 7 insert
		result ingest_unlistened "$(paired ours bare)" "INSERT … SELECT of $(scaled 1000000) events nobody listens to, in $slices statements: \
bare $(figure bare ms), with the lifecycle $(figure ours ms)"
	fi
	if wanted ingest_copy; then
		interleave 7 copy
		result ingest_copy "$(paired ours bare)" "COPY of the same: bare $(figure bare ms), with the lifecycle $(figure ours ms)"
	fi
}

# Figure 2.
measure_bare() {
	fresh bare
	timed "INSERT INTO bare.events $ingest_columns SELECT * FROM bench.hits"
}
measure_ours() {
	fresh ours
	timed "INSERT INTO ours.events $ingest_columns SELECT * FROM bench.hits"
}
measure_hand() {
	fresh hand
	timed "INSERT INTO hand.events $ingest_columns SELECT * FROM bench.hits"
}

figure_2() {
	local written
	set_up_ingest
	alternate 5 bare hand ours
	compare_writes
	result ingest_hits "$(paired ours hand)" "INSERT … SELECT of $(scaled 1000000) events ($written): \
by hand in PL/pgSQL $(figure hand ms), with the lifecycle $(figure ours ms), bare $(figure bare ms)"
}

# Figure 3. single SCHEMA SCRIPT: transactions per second of one-row inserts by four clients.
single() {
	fresh "$1"
	PGOPTIONS="-c search_path=$1 -c synchronous_commit=$commit" pgbench -n -M prepared -c 4 -j 2 -T "$(seconds 4)" -D customers="$customers" \
		-f "test/bench/$2.pgbench" postgres >"$tmp/pgbench.log" 2>&1 || {
		tail -n 20 "$tmp/pgbench.log" >&2
		return 1
	}
	awk '/^tps = / { print $3 }' "$tmp/pgbench.log"
}
measure_single_bare() { single bare unlistened; }
measure_unlistened_ours() { single ours unlistened; }
measure_unlistened_hand() { single hand unlistened; }
measure_hits_ours() { single ours hits; }
measure_hits_hand() { single hand hits; }

figure_3() {
	local commit mode kind variants
	set_up_ingest
	for mode in sync async; do
		[ $mode = sync ] && commit=on || commit=off
		variants=()
		for kind in unlistened hits; do
			! wanted pgbench_${mode}_$kind || variants+=("${kind}_ours" "${kind}_hand")
		done
		[ ${#variants[@]} -gt 0 ] || continue
		alternate 11 single_bare "${variants[@]}"
		for kind in unlistened hits; do
			wanted pgbench_${mode}_$kind || continue
			result pgbench_${mode}_$kind "$(paired "${kind}_ours" single_bare)" "One-row inserts, 4 clients, \
synchronous_commit $commit: bare $(figure single_bare tps), with the lifecycle $(figure "${kind}_ours" tps), \
by hand $(figure "${kind}_hand" tps), $(paired "${kind}_hand" single_bare)"
		done
	done
}
