#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A packet follows a via-wgpeer route, whatever AllowedIPs say, and a source is
# accepted from the peer that the route to it names and from no other. Nothing else
# is set: a new device is in mode auto with filter device.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

follows_route()
{
	family "$1"
	check ip_hub route add "$all" dev hub
	count_from_now
	check_send p1 hub "$addr"
	check_counters
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p2 hub "$addr"
	check_counters tx-wgpeer=1
	count_from_now
	check_send p1 hub "$all_addr"
	check_counters
	check ip_hub route del "$prefix"
	count_from_now
	check_send p1 hub "$addr"
	check_counters
}

replies_pass()
{
	family "$1"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_ping "$site_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1
}

source_of_other_peer()
{
	local peer

	family "$1"
	check ip_hub route add "$all" dev hub
	check_source "$addr" - p1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=1
	for peer in 1 3; do
		count_from_now
		check_forge dropped "p$peer" wg0 "$addr" "$hub_addr"
		check_counters rx-drop-peer=1
	done
}

forwarded()
{
	family "$1"
	check ip_hub route add "$all" dev hub
	check_send p1 lan "$addr"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p2 lan "$addr"
	check_counters tx-wgpeer=1
}

longest_prefix()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$longer" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_send p2 hub "$addr"
	check_send p3 hub "$longer_addr"
	check_send p3 hub "$nobodys"
	# The route to it is the one for the hub's own address, and names nobody.
	check_send p1 hub "$peer1"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p2 wg0 "$longer_addr" "$hub_addr"
	check_forge hub p3 wg0 "$nobodys" "$hub_addr"
	check_forge dropped p2 wg0 "$nobodys" "$hub_addr"
	check_counters tx-wgpeer=3 rx-wgpeer=3 rx-drop-peer=3
}

lowest_metric()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}" metric 20
	check_send p3 hub "$addr"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 10
	check_send p2 hub "$addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check ip_hub route del "$prefix" metric 10
	check_send p3 hub "$addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p2 wg0 "$addr" "$hub_addr"
}

replaced_route()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_send p3 hub "$addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p2 wg0 "$addr" "$hub_addr"
}

# Rules choose the table by what they know of a packet, and its route names the peer.
rules()
{
	local option rule

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$1" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	count_from_now
	for rule in "fwmark 7/mark=7" "dscp 4/tos=16" "tos 0x10/tos=16" "uidrange 4747-4747/uid=4747"; do
		option=${rule#*/} rule=${rule%/*}
		# shellcheck disable=SC2086 # two words
		check ip_hub "-$1" rule add $rule table 100 pref 100
		check_send p3 hub "$addr" "$option"
		check_send p2 hub "$addr"
		check ip_hub "-$1" rule del pref 100
	done
	check ip_hub "-$1" rule add iif lan table 100 pref 100
	check_send p3 lan "$addr"
	check_send p2 hub "$addr"
	check ip_hub "-$1" rule del pref 100
	check_counters tx-wgpeer=10
}

# Large sends leave TCP as one packet and WireGuard segments them.
every_segment_counts()
{
	local out in

	family "$1"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	out=$(nstat_of TcpOutSegs TcpRetransSegs)
	in=$(nstat_of TcpInSegs)
	count_from_now
	transfer_start 2 "$site_addr"
	transfer_more 4096
	transfer_end
	busywait quiet_tcp
	check_counters tx-wgpeer=$(($(nstat_of TcpOutSegs TcpRetransSegs) - out)) \
		rx-wgpeer=$(($(nstat_of TcpInSegs) - in))
}

# No TCP connection of the hub has anything left to send or to get.
quiet_tcp()
{
	[[ -z $(in_hub ss -Htn) ]]
}

for f in 4 6; do
	test_add "IPv$f: a packet goes to the peer that its route names" follows_route $f
	test_add "IPv$f: the reply passes, each packet is counted once" replies_pass $f
	test_add "IPv$f: the same source from other peers is dropped" source_of_other_peer $f
	test_add "IPv$f: forwarded packets follow the route too" forwarded $f
	test_add "IPv$f: the longest prefix names the peer, both ways" longest_prefix $f
	test_add "IPv$f: the lowest metric names the peer, both ways" lowest_metric $f
	test_add "IPv$f: a replaced route moves traffic, both ways" replaced_route $f
	test_add "IPv$f: rules for the mark, the DSCP, the user and the device" rules $f
	test_add "IPv$f: a large send counts as its segments" every_segment_counts $f
done

setup_hub 3 lan
tests_run
