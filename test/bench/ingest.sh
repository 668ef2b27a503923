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

# Figure 1.
measure_bare() {
	fresh bare
	timed "INSERT INTO bare.events $ingest_columns SELECT * FROM bench.$rows"
}
measure_ours() {
	fresh ours
	timed "INSERT INTO ours.events $ingest_columns SELECT * FROM bench.$rows"
}
measure_copy_bare() {
	fresh bare
	timed "COPY bare.events $ingest_columns FROM '$tmp/server/events.copy'"
}
measure_copy_ours() {
	fresh ours
	timed "COPY ours.events $ingest_columns FROM '$tmp/server/events.copy'"
}

figure_1() {
	rows=unlistened
	set_up_ingest
	if wanted ingest_unlistened; then
		alternate 11 bare ours
		result ingest_unlistened "$(paired ours bare)" "INSERT … SELECT of $(scaled 1000000) events nobody listens to: \
bare $(figure bare ms), with the lifecycle $(figure ours ms)"
	fi
	if wanted ingest_copy; then
		sql -c "COPY bench.unlistened TO '$tmp/server/events.copy'"
		alternate 11 copy_bare copy_ours
		result ingest_copy "$(paired copy_ours copy_bare)" "COPY of the same: \
bare $(figure copy_bare ms), with the lifecycle $(figure copy_ours ms)"
	fi
}

# Figure 2.
measure_hand() {
	fresh hand
	timed "INSERT INTO hand.events $ingest_columns SELECT * FROM bench.$rows"
}

figure_2() {
	local written
	rows=hits
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
