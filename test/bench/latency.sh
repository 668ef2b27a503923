# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# Figure 6: from the commit of an event to the commit, by the worker, of the message that follows from it. Both are the times in the commit
# records, taken just before each is flushed: what the flush of the event costs is in the figure, what that of the message costs is not.

# events_for SECONDS: 50 events a second, arriving at random.
events_for() { pgbench -n -M prepared -c 2 -R 50 -T "$1" -f test/bench/latency.pgbench postgres >"$tmp/pgbench.log" 2>&1; }

figure_6() {
	local n p50 p99 max left
	server track_commit_timestamp=on
	sql -v customers="$(scaled 20000)" -f test/bench/latency.sql >/dev/null
	events_for 2
	sql -c 'CREATE TABLE bench.warm AS SELECT id FROM events'
	settle
	events_for "$(seconds 30)"
	for _ in {1..100}; do
		left=$(sql -c 'SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM customer.messages)')
		[ "$left" != 0 ] || break
		sleep 0.1
	done
	[ "$left" = 0 ] || die "$left of the events have brought no message"
	read -r n p50 p99 max < <(sql -F ' ' -c "SELECT count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
			round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2), round(max(ms)::numeric, 2)
		FROM (SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(m.xmin) - pg_xact_commit_timestamp(e.xmin))::float8 AS ms
			FROM events e JOIN customer.messages m ON m.subject_id = e.customer_id WHERE e.id NOT IN (SELECT id FROM bench.warm)) AS latencies")
	for name in p50 p99; do
		! wanted latency_${name}_ms ||
			result latency_${name}_ms "${!name}" "$n events at 50 a second, commit to commit: p50 $p50 ms, p99 $p99 ms, longest $max ms"
	done
}
