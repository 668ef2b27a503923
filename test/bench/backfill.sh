# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# Figure 7: replaying history through the rules.

measure_window() {
	settle
	PGOPTIONS='-c work_mem=512MB' timed 'SELECT stage, count(*) FROM bench.last_stage GROUP BY stage'
}
measure_backfill() {
	sql -f test/bench/backfill_rules.sql >/dev/null
	settle
	timed "CALL lifecycle.backfill('customer')"
}

figure_7() {
	local events wrong
	events=$(scaled 10000000)
	server
	sql -v customers="$(scaled 1000000)" -v events="$events" -f test/bench/backfill.sql >/dev/null
	alternate 3 window backfill
	wrong=$(sql -c "SELECT count(*) FROM customers c LEFT JOIN customer.subjects s ON s.subject_id = c.id
		LEFT JOIN bench.last_stage l ON l.customer_id = c.id WHERE s.stage::text IS DISTINCT FROM coalesce(l.stage, 'awareness')")
	[ "$wrong" = 0 ] || die "backfill and the window query do not agree about $wrong customers"
	result backfill "$(paired backfill window)" "$events events through four rules: $(figure backfill ms), \
$(ratio "$events" "${measured[backfill]}") thousand events/s, $(sql -c 'SELECT count(*) FROM customer.transitions') transitions; \
a window query for the last stage alone $(figure window ms)"
}
