# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# Figure 6: from the commit of an event to the commit, by the worker, of the message that follows from it. Both are the times in the commit
# records, taken just before each is flushed: what the flush of the event costs is in the figure, what that of the message costs is not. Since the
# flush is the disk's, the same is measured without any (fsync=off), and what a bare insert takes at the same rate.

# at_fifty_a_second SECONDS SCRIPT: 50 transactions a second, arriving at random; leaves the milliseconds of each in $tmp/pgbench.ms.
at_fifty_a_second() {
	rm -f "$tmp"/latency.*
	pgbench -n -M prepared -c 2 -R 50 -T "$1" -l --log-prefix="$tmp/latency" -f "test/bench/$2.pgbench" postgres >"$tmp/pgbench.log" 2>&1
	# without what the transaction was late, the last column
	cat "$tmp"/latency.* | awk '{ print ($3 - $NF) / 1000 }' | sort -g >"$tmp/pgbench.ms"
}

percentile() { awk -v p="$1" '{ v[NR] = $1 } END { printf "%.2f", v[int((NR - 1) * p + 1.5)] }' "$tmp/pgbench.ms"; }

# latencies NAME SETTING...: prints the figures latency_<name>p50_ms and latency_<name>p99_ms, of a server with these settings.
latencies() {
	local prefix=$1 n p50 p99 max left bare what
	shift
	server track_commit_timestamp=on "$@"
	sql -v customers="$(scaled 20000)" -f test/bench/latency.sql >/dev/null
	at_fifty_a_second 2 latency
	sql -c 'CREATE TABLE bench.warm AS SELECT id FROM events'
	settle
	at_fifty_a_second "$(seconds 10)" bare
	bare="a bare insert p50 $(percentile 0.5) ms, p99 $(percentile 0.99) ms"
	at_fifty_a_second "$(seconds 30)" latency
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
	what="$n events at 50 a second${*:+, $*}, commit to commit: p50 $p50 ms, p99 $p99 ms, longest $max ms; $bare"
	for name in p50 p99; do
		! wanted "latency_$prefix${name}_ms" || result "latency_$prefix${name}_ms" "${!name}" "$what"
	done
}

figure_6() {
	! wanted latency_p50_ms && ! wanted latency_p99_ms || latencies ''
	! wanted latency_unflushed_p50_ms && ! wanted latency_unflushed_p99_ms || latencies unflushed_ fsync=off
}
