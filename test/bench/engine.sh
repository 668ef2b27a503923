# shellcheck shell=bash disable=SC2154,SC2317 # set by test/bench/run or by what calls; called by name
# Figures 4 and 5: what one worker does in a second. Its beginning is the call of lifecycle.resume(), its end the commit of the last batch.

# until_done LIFECYCLE N: waits until the worker has written N activity rows; gives up when nothing has moved for 30 seconds.
until_done() {
	local before=-1 now quiet=0
	while now=$(sql -c "SELECT pg_stat_get_tuples_inserted('$1.activity'::regclass)") && [ $((now - activity_before)) -lt "$2" ]; do
		if [ "$now" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
		[ $quiet -lt 150 ] || {
			tail -n 20 "$tmp/server/log" >&2
			die "the worker stopped after $((now - activity_before)) of $2 activity rows"
		}
		before=$now
		sleep 0.2
	done
}

# work LIFECYCLE STEPS N: lets the worker run the N wake-ups that are due, of so many steps each; prints wake-ups per second.
work() {
	local began activity_before
	activity_before=$(sql -c "SELECT pg_stat_get_tuples_inserted('$1.activity'::regclass)")
	began=$(sql -c 'SELECT clock_timestamp()' -c 'SELECT lifecycle.resume()' | awk 'NR == 1')
	until_done "$1" $(($2 * $3))
	sql -c 'SELECT lifecycle.pause()' >/dev/null
	sql -c "SELECT CASE WHEN (SELECT count(*) FROM $1.messages) = $2 * $3 AND (SELECT count(*) FROM $1.activity) = $2 * $3
		THEN round($3 / extract(epoch FROM max(pg_xact_commit_timestamp(xid)) - '$began'::timestamptz), 1)::text ELSE 'wrong number of rows' END
		FROM (SELECT DISTINCT xmin AS xid FROM $1.activity) AS batches"
}

arm() {
	sql -c "CALL bench.arm('$1', $2)"
	settle customer._due customer.activity customer.messages
}

# Figure 4.
measure_steps() {
	arm one "$enrollments"
	work customer 1 "$enrollments"
}
measure_by_hand() {
	sql -c "CALL bench.arm_by_hand($enrollments)"
	settle hand.enrollments hand.activity hand.messages
	timed 'CALL hand.run(20000)' | awk -v n="$enrollments" '{ print n / $1 * 1000 }'
}

# writes WORKFLOW STEPS: rows of the queue and of enrollments that were written for each wake-up.
writes() {
	local before after count="SELECT sum(pg_stat_get_tuples_inserted(t) + pg_stat_get_tuples_updated(t) + pg_stat_get_tuples_deleted(t))
		FROM unnest('{customer._due,customer.enrollments}'::regclass[]) AS t"
	arm "$1" "$chained"
	before=$(sql -c "$count")
	rate=$(work customer "$2" "$chained")
	# The counters of the last batch arrive when the worker has gone idle.
	for _ in {1..50}; do
		after=$(sql -c "$count")
		[ $((after - before)) -lt $((2 * chained)) ] || break
		sleep 0.1
	done
	per_wakeup=$(ratio $((after - before)) "$chained")
}

figure_4() {
	local enrollments chained rate per_wakeup one_rate one_writes
	enrollments=$(scaled 1000000) chained=$(scaled 200000)
	server track_commit_timestamp=on
	sql -v enrollments="$enrollments" -v chained="$chained" -f test/bench/engine.sql -f test/bench/steps_by_hand.sql >/dev/null
	if wanted engine_steps; then
		alternate 5 by_hand steps
		result engine_steps "$(paired steps by_hand)" "$enrollments enrollments due in random order, each wake-up \
writes an activity row and a message: SQL, wake time indexed in the enrollment, $(figure by_hand steps/s), the worker $(figure steps steps/s)"
	fi
	if wanted engine_chained; then
		writes one 1
		one_rate=$rate one_writes=$per_wakeup
		writes four 4
		result engine_chained "$(ratio "$per_wakeup" "$one_writes")" "Rows of queue and enrollments written per wake-up: \
$one_writes with one step, $per_wakeup with four in a row; $one_rate and $rate wake-ups/s"
	fi
}

# Figure 5.
measure_without_snapshot() {
	arm one "$enrollments"
	work customer 1 "$enrollments"
}
measure_with_snapshot() {
	local rate
	arm one "$enrollments"
	coproc holder { psql -XqAt; }
	# shellcheck disable=SC2154 # set by coproc
	echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM customers;' >&"${holder[1]}"
	read -r _ <&"${holder[0]}"
	rate=$(work customer 1 "$enrollments")
	echo 'COMMIT; SELECT 1;' >&"${holder[1]}"
	read -r _ <&"${holder[0]}"
	eval "exec ${holder[1]}>&-"
	wait "$holder_PID"
	echo "$rate"
}

# enroll DATABASE WAITING ROUNDS: so many who wait, and for each round so many more whose wait is over then; the worker has put all of them into their waits.
enroll() {
	local -x PGDATABASE=$1
	local _
	createdb "$1"
	sql -c 'CREATE EXTENSION lifecycle' -f test/bench/shop.sql
	sql -v customers="$customers" -v waiting="$2" -v due="$due" -v rounds="$3" -f test/bench/waiting.sql -c 'SELECT lifecycle.resume()'
	for _ in {1..600}; do
		[ "$(sql -c 'SELECT min(due_at) > now() FROM customer._due')" != t ] || break
		sleep 1
	done
	sql -c 'SELECT lifecycle.pause()' -c "CALL bench.keep_queue($3)"
}

# round: lets the worker run what is due.
round() {
	sql -c 'TRUNCATE customer.activity, customer.messages'
	sql -c 'VACUUM (ANALYZE) customer._due'
	[ "${1-}" != checkpoint ] || sql -c CHECKPOINT
	work customer 1 "$(sql -c 'SELECT count(*) FROM customer._due WHERE due_at <= now()')"
}

measure_few() {
	local -x PGDATABASE=few
	sql -c "CALL bench.fill('0', '1 hour')"
	round
}

# Rounds lie between checkpoints: the first change of each page after one writes the whole page to WAL, once in checkpoint_timeout and not once in so few
# seconds.
measure_many() {
	local -x PGDATABASE=many
	until [ "$(sql -c "SELECT count(*) >= $due * 0.9 FROM customer._due WHERE due_at <= now() - interval '1 s'")" = t ]; do sleep 1; done
	round "$@"
}
measure_many_checkpoint() { measure_many checkpoint; }

figure_5() {
	local enrollments customers due waiting few
	if wanted old_snapshot; then
		enrollments=$(scaled 500000)
		server track_commit_timestamp=on
		sql -v enrollments="$enrollments" -v chained=0 -f test/bench/engine.sql >/dev/null
		alternate 3 without_snapshot with_snapshot
		result old_snapshot "$(paired with_snapshot without_snapshot)" "$enrollments wake-ups: \
$(figure without_snapshot wake-ups/s), while another session holds an old snapshot $(figure with_snapshot wake-ups/s)"
	fi
	if wanted waiting_10m; then
		waiting=$(scaled 10000000) few=$(scaled 100000) due=$(scaled 200000) customers=$(scaled 1000000)
		server track_commit_timestamp=on
		enroll few "$few" 1 >/dev/null
		enroll many "$waiting" 9 >/dev/null
		PGDATABASE=many sql -c "CALL bench.fill('100 s', '30 s')"
		PGDATABASE=many settle customer._due
		measure_many >/dev/null
		alternate 5 few many
		alternate 3 many_checkpoint
		result waiting_10m "$(paired many few)" "About $due due: beside $few that wait $(figure few wake-ups/s), beside $waiting \
$(figure many wake-ups/s), right after a checkpoint $(figure many_checkpoint wake-ups/s)"
	fi
}
