#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# wgvia resolve: what it says of each step of the rule is what the packet then meets.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset()
{
	reset_hub
	flush_rules
	set_filter device
	check in_hub wgvia set hub multicast off
}

# answer WORD...: "VERDICT CLAUSE [PEER]", and the route behind "by"
answer()
{
	in_hub wgvia resolve -j hub "$@" 2>&1 | jq -r '.[0] | [.verdict, .clause // "-", .peer // empty,
		(.route | select(.) | "by", .dst // empty, .gateway // empty, .via_wgpeer // empty,
		 .dev // empty, .table // empty)] | join(" ")' | names
}

# check_answer EXPECTED WORD...
check_answer() { check_eq "wgvia resolve hub ${*:2}" "$1" "$(answer "${@:2}")"; }

# check_sent EXPECTED FATE DST [WORD]...: so it is answered, and so a packet goes. Nothing is counted but
# the packet.
check_sent()
{
	local clause

	read -r _ clause _ <<<"$1"
	count_from_now
	check_answer "$1" "$3" "${@:4}"
	check_send "$2" hub "$3"
	if [[ $clause == - ]]; then check_counters; else check_counters "${clause//_/-}=1"; fi
}

# check_passes SOURCE CLAUSE PEER[,PEER]...|none [ROUTE]: check_source, and resolve says the same of
# those who may and of one who may not
check_passes()
{
	local i expected refused="drop rx_drop_peer"

	[[ $3 != none ]] || refused="drop $2"
	for i in 1 2 3; do
		if [[ ,$3, == *,p$i,* ]]; then expected="accept $2"; else expected=$refused refused=; fi
		[[ -z $expected ]] ||
			check_answer "$expected${4:+ by $4}" "$hub_addr" from "$1" in "${KEY[$i]}"
	done
	check_source "$1" "${2//_/-}" "$3"
}

sending()
{
	family "$1"
	check_sent "unreachable -" ENETUNREACH "$nobodys"
	check ip_hub route add "$foreign" dev ul
	check_answer "elsewhere - by $foreign ul 254" "$nobodys"
	check_answer "elsewhere - by lo" "$hub_addr"

	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_sent "accept tx_wgpeer K2 by $prefix K2 254" p2 "$addr"
	check ip_hub route add "$longer" via "$peer3" dev hub
	check_sent "accept tx_gateway K3 by $longer $peer3 254" p3 "$longer_addr"
	check ip_hub route add "$prefix3" dev hub
	check_sent "accept tx_onlink K1 by $prefix3 254" p1 "$addr3"

	new_key 9
	check_warns "$NO_PEER_YET" ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[9]}"
	check_sent "drop tx_drop_wgpeer by $prefix K9 254" ENOKEY "$addr"
	check ip_hub route replace "$longer" via "$site_addr" dev hub onlink
	check_sent "drop tx_drop_gateway by $longer $site_addr 254" ENOKEY "$longer_addr"
	check ip_hub route replace "$foreign" dev hub
	check_sent "drop tx_drop_onlink by $foreign 254" ENOKEY "$nobodys"
	check ip_hub route add unreachable "$longest"
	check_sent "unreachable -" EHOSTUNREACH "$longest_addr"
}

rules()
{
	local words

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add fwmark 7 table 100 pref 100
	check_answer "accept tx_wgpeer K2 by $prefix K2 254" "$addr"
	check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" mark 7
	check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" mark 0x7
	check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" mark 7 oif hub
	check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" mark 7 routed no
	for words in "from $lan_addr" "sport 7" "dport 8" "dscp 4"; do
		flush_rules
		# shellcheck disable=SC2086 # words
		check rule add $words table 100 pref 100
		# shellcheck disable=SC2086 # words
		check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" $words
		# shellcheck disable=SC2086 # words
		check_answer "accept tx_wgpeer K3 by $prefix K3 100" "$addr" $words routed no
	done
}

# Packets that no route has sent to the device, and senders bound to a device
without_a_route()
{
	family "$1"
	check_answer "drop tx_drop_noroute" "$nobodys" routed no
	check_forge ENOKEY hub hub "$hub_addr" "$nobodys"
	check ip_hub route add "$prefix" dev ul
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 2000
	check_answer "elsewhere - by $prefix ul 254" "$addr"
	check_answer "accept tx_wgpeer K2 by $prefix K2 254" "$addr" oif hub
	check_answer "accept tx_wgpeer K2 by $prefix K2 254" "$addr" routed no
	check_forge p2 hub hub "$hub_addr" "$addr"
}

other_modes()
{
	family "$1"
	check ip_hub route add "$prefix" via "$gateway" dev hub
	check ip_hub route add "$foreign" dev hub
	set_mode auto
	check_sent "accept - K1 by $prefix $gateway 254" p1 "$addr"
	check_sent "drop - by $foreign 254" ENOKEY "$nobodys"
	# Whose AllowedIPs have it
	check_answer "accept - K1" "$hub_addr" from "$addr" in "${KEY[1]}"
	check_answer "drop - K1" "$hub_addr" from "$addr" in "${KEY[2]}"
	check_source "$addr" - p1
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_sent "accept tx_wgpeer K2 by $prefix K2 254" p2 "$addr"
	check_passes "$addr" rx_wgpeer p2 "$prefix K2 254"
	check ip_hub route del "$prefix" dev hub
	set_mode off
	check ip_hub route add "$prefix" dev hub
	check_answer "accept - by $prefix 254" "$addr"
	check_answer "drop - by $foreign 254" "$nobodys"
	check_answer "accept -" "$hub_addr" from "$addr" in "${KEY[1]}"
	check_answer "drop -" "$hub_addr" from "$addr" in "${KEY[2]}"
}

# A packet to a group is not copied. It is sent by the device, wherever the default route leads, and
# no route sends it there.
group()
{
	local group=224.0.0.9 default=0.0.0.0/0

	family "$1"
	[[ $f == 4 ]] || group=ff02::9 default=::/0
	check ip_hub route add "$default" dev ul
	check_answer "drop tx_drop_onlink" "$group"
	check in_hub wgvia set hub multicast on
	count_from_now
	check_answer "copy tx_multicast" "$group"
	check_answer "copy tx_multicast" "$group" oif hub routed no
	check_answer "elsewhere - by ul" "$group" oif ul
	check_counters
	check ip_hub route add "$default" dev hub via-wgpeer "${KEY[2]}" metric 1
	check_answer "copy tx_multicast" "$group"
}

receiving()
{
	family "$1"
	check_passes "$nobodys" rx_drop_peer none
	check_passes "$addr" rx_allowedips p1
	check_passes "$loopback" rx_drop_source none
	check_passes "$hub_addr" rx_drop_own none
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_passes "$addr" rx_wgpeer p2 "$prefix K2 254"
	check ip_hub route add "$longer" via "$peer3" dev hub
	check_passes "$longer_addr" rx_gateway p3 "$longer $peer3 254"
	check ip_hub route add "$prefix3" dev hub
	check_passes "$addr3" rx_onlink p1 "$prefix3 254"
	check ip_hub route add blackhole "$prefix2"
	check_passes "$addr2" rx_drop_noroute none "$prefix2 254"
	check ip_hub route add blackhole "$host2"
	check_answer "accept rx_neighbour" "$hub_addr" from "$peer2" in "${KEY[2]}"
	check_forge hub p2 wg0 "$peer2" "$hub_addr"
	check_answer "drop rx_drop_noroute by $host2 254" "$hub_addr" from "$peer2" in "${KEY[3]}"
	check_forge dropped p3 wg0 "$peer2" "$hub_addr"
}

# Of several longest prefixes, the one that leads to the peer is named.
several_tables()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add fwmark 7 table 100 pref 100
	check_answer "accept rx_wgpeer by $prefix K2 254" "$hub_addr" from "$addr" in "${KEY[2]}"
	check_answer "accept rx_wgpeer by $prefix K3 100" "$hub_addr" from "$addr" in "${KEY[3]}"
	check_source "$addr" rx-wgpeer p2,p3
	check ip_hub route add "$longer" dev hub via-wgpeer "${KEY[2]}"
	check_passes "$longer_addr" rx_wgpeer p2 "$longer K2 254"
}

filters()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	set_filter loose
	check_answer "accept rx_loose by $prefix K2 254" "$hub_addr" from "$addr" in "${KEY[3]}"
	check_answer "accept rx_wgpeer by $prefix K2 254" "$hub_addr" from "$addr" in "${KEY[2]}"
	count_from_now
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_counters rx-loose=1
	set_filter strict
	check_passes "$addr" rx_wgpeer p2 "$prefix K2 254"
	check_passes "$nobodys" rx_drop_noroute none
	check ip_hub route add "$longer" dev other
	check_passes "$longer_addr" rx_drop_device none "$longer 254"
	set_filter none
	check_passes "$longer_addr" rx_unfiltered p1,p2,p3
	check ip_hub link del other
}

# The words of people
words()
{
	local out

	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	out=$(in_hub wgvia resolve hub 10.2.0.1 | names)
	check_eq "for people" "accept peer K2
  tx_wgpeer: Sent to the peer that the nexthop names
  route 10.2.0.0/16 via-wgpeer K2 table 254" "$out"
	out=$(in_hub wgvia resolve hub 10.0.0.254 from 10.2.0.1 in "${KEY[3]}" | names)
	check_eq "of one that is dropped" "drop
  rx_drop_peer: Dropped, the source belongs to another peer or to none
  route 10.2.0.0/16 via-wgpeer K2 table 254" "$out"
}

refused()
{
	local list=" (list WireGuard devices with: ip link show type wireguard)"

	new_key 9
	check_fails "wgvia: none: no such device$list" in_hub wgvia resolve none 10.0.0.1
	check_fails "wgvia: none: no such device" in_hub wgvia resolve hub 10.0.0.1 oif none
	check_fails "wgvia: ul: not a WireGuard device$list" in_hub wgvia resolve ul 10.0.0.1
	check_fails "wgvia: hub: the device has no peer with this key" \
		in_hub wgvia resolve hub 10.0.0.254 from 10.2.0.1 in "${KEY[9]}"
	check_fails "wgvia: from is of another family than ADDR" \
		in_hub wgvia resolve hub 10.0.0.254 from fd00::1
	check_fails "wgvia: in needs from: the source that the packet of the peer has" \
		in_hub wgvia resolve hub 10.0.0.254 in "${KEY[1]}"
	check_fails "wgvia: 'nowhere' is not an address" in_hub wgvia resolve hub nowhere
	check_fails "wgvia: hub: permission denied: CAP_NET_ADMIN in the user namespace that owns the network namespace is needed, try as root" \
		in_hub setpriv --reuid 65534 --regid 65534 --clear-groups wgvia resolve hub 10.0.0.1
}

for f in 4 6; do
	test_add "each step of sending, IPv$f" sending $f
	test_add "rules, IPv$f" rules $f
	test_add "packets without a route, IPv$f" without_a_route $f
	test_add "modes auto and off, IPv$f" other_modes $f
	test_add "packets to a group, IPv$f" group $f
	test_add "each clause of the filter device, IPv$f" receiving $f
	test_add "several tables, IPv$f" several_tables $f
	test_add "the other filters, IPv$f" filters $f
done
test_add "for people" words
test_add "what is refused" refused

setup_hub 3
test_reset
tests_run
