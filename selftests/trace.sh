#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tracepoints of packets that are dropped, as ftrace shows them.
# needs: CONFIG_EVENT_TRACING

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

tracefs=/sys/kernel/tracing events=$tracefs/events/wgvia

test_reset()
{
	reset_hub
	set_filter device
	trace 1
}

# trace 0|1: begin with an empty buffer, or end
trace()
{
	echo "$1" >"$events/enable"
	echo >"$tracefs/trace"
}

cleanup_file() { echo 0 >"$events/enable"; }

# traced: the events since, without what comes before their names. Not of reports of groups,
# which the kernel sends by itself.
traced()
{
	sed -n 's/^.* \(wgvia_[a-z_]*: \)/\1/p' "$tracefs/trace" | grep -v 'daddr=ff02:' | names |
		sed 's/ ifindex=[0-9]*//'
}

# mapped ADDRESS: as events have it
mapped() { if [[ $1 == *:* ]]; then echo "$1"; else echo "::ffff:$1"; fi; }

check_traced() { check_eq "events" "$(printf '%s\n' "$@")" "$(traced)"; }

sending()
{
	local from

	family "$1"
	from=$(mapped "$hub_addr")
	new_key 9
	check ip_hub route add "$foreign" dev hub
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[9]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check_send ENOKEY hub "$addr"
	check_send ENOKEY hub "$nobodys"
	check_send p2 hub "$addr2"
	check_forge ENOKEY hub hub "$hub_addr" "$addr"
	check_traced \
		"wgvia_tx_drop: dev=hub peer=K9 saddr=$from daddr=$(mapped "$addr") clause=tx_drop_wgpeer" \
		"wgvia_tx_drop: dev=hub peer= saddr=$from daddr=$(mapped "$nobodys") clause=tx_drop_onlink" \
		"wgvia_tx_drop: dev=hub peer=K9 saddr=$from daddr=$(mapped "$addr") clause=tx_drop_wgpeer"
}

receiving()
{
	local to

	family "$1"
	to=$(mapped "$hub_addr")
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$loopback" "$hub_addr"
	check_traced \
		"wgvia_rx_drop: dev=hub peer=K3 saddr=$(mapped "$addr") daddr=$to clause=rx_drop_peer" \
		"wgvia_rx_drop: dev=hub peer=K1 saddr=$(mapped "$loopback") daddr=$to clause=rx_drop_source"
}

# The packets of resolve are not traced.
asked()
{
	check_eq "clause" rx_drop_source "$(in_hub wgvia resolve -j hub 10.0.0.254 from 127.0.0.1 \
		in "${KEY[1]}" | jq -r '.[0].clause')"
	check_traced ""
}

filtered()
{
	family 4
	echo 'clause == "rx_drop_own"' >"$events/wgvia_rx_drop/filter"
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	check_forge dropped p3 wg0 "$hub_addr" "$hub_addr"
	echo 0 >"$events/wgvia_rx_drop/filter"
	check_eq "events" 1 "$(traced | wc -l)"
}

for f in 4 6; do
	test_add "packets that are not sent, IPv$f" sending $f
	test_add "packets that are not accepted, IPv$f" receiving $f
done
test_add "none of what is only asked" asked
test_add "filters" filtered

setup_hub 3
test_reset
tests_run
