#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The source filter "device", as if the routes on the device had been copied into
# AllowedIPs: a source is accepted from a peer to which the longest prefix of all
# tables leads that has a nexthop on the device, and from its own neighbour address
# always. Where no table has such a prefix, AllowedIPs decide.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset() { reset_sources device; }

default_route()
{
	family "$1"
	check_source "$nobodys" rx-drop-peer none
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}"
	check_source "$nobodys" rx-wgpeer p2
	check_source "$short_addr" rx-wgpeer p2
	check_source "$peer2" rx-onlink p2
	check ip_hub "-$f" route del default
	check_source "$nobodys" rx-drop-peer none
}

overlapping()
{
	family "$1"
	check ip_hub route add "$short" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$longer" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$longest" dev hub
	check_source "$short_addr" rx-wgpeer p2
	check_source "$addr" rx-wgpeer p3
	check_source "$longer_addr" rx-wgpeer p2
	check_source "$longest_addr" rx-onlink p1
	check ip_hub route del "$longer"
	check_source "$longer_addr" rx-wgpeer p3
	check ip_hub route del "$prefix"
	check_source "$longer_addr" rx-wgpeer p2
}

no_route()
{
	family "$1"
	check_source "$addr" rx-allowedips p1
	check_source "$nobodys" rx-drop-peer none
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+$prefix"
	check_source "$addr" rx-allowedips p3
	check ip_hub route add "$all" dev hub via-wgpeer "${KEY[2]}"
	check_source "$addr" rx-wgpeer p2
	add_peer 3
}

# A route that leads to no peer accepts from none, whoever has all of AllowedIPs.
absent_peer()
{
	family "$1"
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips "+0.0.0.0/0,+::/0"
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix" dev hub via-wgpeer "$(wg genkey | wg pubkey)"
	check_source "$addr" rx-drop-peer none
	check ip_hub route replace "$prefix" via "${peer1%1}99" dev hub
	check_source "$addr" rx-drop-peer none
	add_peer 1
}

not_unicast()
{
	local type

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	for type in blackhole unreachable prohibit; do
		check ip_hub route add "$type" "$longer"
		check_source "$longer_addr" rx-drop-noroute none
		check_source "$addr" rx-wgpeer p2
		check ip_hub route del "$type" "$longer"
	done
	# Where nothing is said of it, a rejecting route takes it from AllowedIPs too.
	check ip_hub route add blackhole "$prefix3"
	check_source "$addr3" rx-drop-noroute none
	# AnyIP
	check ip_hub route add local "$longer" dev hub
	check_source "$longer_addr" rx-wgpeer p2
	check ip_hub route del local "$longer" dev hub table local
	[[ $f == 6 ]] || check_source 10.0.0.255 rx-drop-own none
}

# A throw route beside an address that the table has for one of the host says nothing of the
# prefixes around both.
throw_beside_own()
{
	family 4
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add local "$longer" dev hub table main
	check_source "$longer_addr" rx-wgpeer p2
	check ip_hub route add throw 10.2.2.0/24
	check_source "$longer_addr" rx-wgpeer p2
	check_source 10.2.2.1 rx-allowedips p1
	# One around both hides what is around it.
	check ip_hub route del throw 10.2.2.0/24
	check ip_hub route add throw 10.2.2.0/23
	check_source "$longer_addr" rx-allowedips p1
}

martian()
{
	local filter source

	family "$1"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}"
	if [[ $f == 4 ]]; then
		set -- 224.0.0.1 239.255.255.250 255.255.255.255 0.0.0.0 127.0.0.1 127.8.8.8
	else
		set -- ff02::1 ff0e::1234 :: ::1
	fi
	for filter in device strict loose; do
		set_filter "$filter"
		for source in "$@"; do
			check_source "$source" rx-drop-source none
		done
	done
}

# The route by which the hub itself would reply is not asked for: that is filter strict.
other_devices()
{
	family "$1"
	add_other
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check ip_hub route add "$longer" dev other
	check_source "$longer_addr" rx-wgpeer p2
	check ip_hub route add "$prefix" dev other metric 1
	check_source "$addr" rx-wgpeer p2
	check ip_hub "-$f" route add default dev other metric 1
	check_source "$nobodys" rx-drop-peer none
}

# Nor do they when nexthop objects lead there, as routing daemons have it: not for another
# metric, nor for a shorter prefix that begins with the same address.
objects_of_other_devices()
{
	family "$1"
	add_other
	check ip_hub "-$f" nexthop add id 9 dev other
	check ip_hub route add "$prefix" nhid 9 metric 1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check ip_hub route add "$short" dev hub via-wgpeer "${KEY[3]}"
	check_source "$addr" rx-wgpeer p2
	check ip_hub route del "$prefix" metric 100
	check_source "$addr" rx-wgpeer p3
	check ip_hub route add "$wider" dev hub via-wgpeer "${KEY[2]}"
	check_source "$addr" rx-wgpeer p2
	check ip_hub "-$f" route add default nhid 9 metric 1
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" metric 100
	check_source "$nobodys" rx-wgpeer p2
}

# Of one prefix the lowest metric decides that is on the device or rejects, also when a
# lower one is elsewhere.
metrics()
{
	family "$1"
	add_other
	check ip_hub route add "$prefix" dev other metric 10
	check ip_hub route add unreachable "$prefix" metric 20
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 30
	check_source "$addr" rx-drop-noroute none
	check ip_hub route del unreachable "$prefix" metric 20
	check_source "$addr" rx-wgpeer p2
	check ip_hub "-$f" nexthop add id 9 blackhole
	check ip_hub route add "$prefix" nhid 9 metric 40
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}" metric 50
	check_source "$addr" rx-wgpeer p2
	check ip_hub route del "$prefix" metric 30
	check_source "$addr" rx-drop-noroute none
	check ip_hub route del "$prefix" metric 40
	check_source "$addr" rx-wgpeer p3
}

# No peer has an address of the hub, wherever the hub has it, and under every filter.
own()
{
	local filter own=198.51.100.1 net=(198.51.100.1/24)

	family "$1"
	[[ $f == 4 ]] || own=2001:db8:2::1 net=(2001:db8:2::1/64 nodad)
	add_other
	check ip_hub address add dev other "${net[@]}"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}"
	for filter in device strict loose; do
		set_filter "$filter"
		check_source "$own" rx-drop-own none
		check_source "$hub_addr" rx-drop-own none
	done
	# Not even one that AllowedIPs give it
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips "+$own"
	check_source "$own" rx-drop-own none
	set_filter device
	# The broadcast address of another device's subnet is none of ours.
	[[ $f == 6 ]] || check_source 198.51.100.255 rx-wgpeer p2
	del_other
	check_source "$own" rx-wgpeer p2
	add_peer 2
	# AnyIP: nobody has configured the address.
	check ip_hub route add local "$foreign" dev lo
	check_source "$nobodys" rx-wgpeer p2
	check ip_hub route del local "$foreign" dev lo table local
}

# An address that no host has, or hardly any, is like any other to the filter, as it is to the
# stack.
odd_sources()
{
	local source

	family "$1"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}"
	if [[ $f == 6 ]]; then
		check_source ::ffff:198.51.100.1 rx-wgpeer p2
		return
	fi
	for source in 0.0.0.1 240.0.0.1 255.255.255.254; do
		check_source "$source" rx-wgpeer p2
	done
}

# Everybody on the link may have any of them: a route for a prefix says nothing.
link_local()
{
	local filter

	hub_addr=fe80::fe
	add_other
	for filter in device strict loose; do
		set_filter "$filter"
		check_source fe80::2 rx-neighbour p2
		check_source fe80::77 rx-drop-peer none
		check ip_hub route add fe80::/120 dev hub via-wgpeer "${KEY[3]}"
		check ip_hub -6 route add default dev hub via-wgpeer "${KEY[3]}"
		check_source fe80::77 rx-drop-peer none
		check ip_hub route add fe80::77/128 via fe80::3 dev hub
		check_source fe80::77 rx-drop-peer none
		check ip_hub route replace fe80::77/128 dev hub via-wgpeer "${KEY[3]}"
		check_source fe80::77 rx-wgpeer p3
		# Each device has its own: one of another device is no other's.
		check ip_hub address add fe80::77/64 dev other nodad
		check_source fe80::77 rx-wgpeer p3
		check ip_hub address del fe80::77/64 dev other
		check_source fe80::fe rx-drop-own none
		check ip_hub route del fe80::77/128
		check in_hub wg set hub peer "${KEY[1]}" allowed-ips +fe80::/64
		check_source fe80::77 rx-allowedips p1
		check_source fe80::2 rx-neighbour p2
		add_peer 1
		reset_hub
	done
}

# nested ADDRESS: the prefixes of all lengths around it, from the shortest, and with each
# an address that is in it and in no longer one
nested()
{
	python3 - "$1" <<-'END'
		import ipaddress, sys
		address = ipaddress.ip_address(sys.argv[1])
		bits = address.max_prefixlen
		for length in range(bits + 1):
		    prefix = ipaddress.ip_network((address, length), strict=False)
		    flipped = 1 << bits - length - 1 if length < bits else 0
		    print(prefix, type(address)(int(address) ^ flipped))
	END
}

# every_length FAMILY [TABLE]...: each bit of an address counts. Of nested prefixes, each of
# which is in one of the tables, each leads to another peer than the next shorter and the
# next longer one.
every_length()
{
	local address=10.90.165.60 prefixes=() sources=() tables=(main "${@:2}")
	local prefix source length i n

	family "$1"
	[[ $f == 4 ]] || address=2001:db8:a5a5:3c3c:5a5a:9696:c3c3:a55a
	for i in "${@:2}"; do
		check rule add table "$i" fwmark "$i" pref "$i"
	done
	while read -r prefix source; do
		prefixes+=("$prefix") sources+=("$source")
	done < <(nested "$address")
	n=$((${#prefixes[@]} - 1))
	for ((length = 1; length <= n; length++)); do
		echo "route add ${prefixes[length]} dev hub via-wgpeer ${KEY[length % 3 + 1]}" \
			"table ${tables[length % ${#tables[@]}]}"
	done >"$TMP/routes"
	check ip_hub -batch "$TMP/routes"
	count_from_now
	for ((length = 1; length <= n; length++)); do
		for i in 1 2 3; do
			check_forge "$([[ $i == $((length % 3 + 1)) ]] && echo hub || echo dropped)" \
				"p$i" wg0 "${sources[length]}" "$hub_addr"
		done
	done
	check_counters rx-wgpeer="$n" rx-drop-peer=$((2 * n))
	check_source "${sources[0]}" rx-drop-peer none
}

# A neighbour can always speak from its own address, whatever routes say: else routers
# that learn each other's addresses from a third one never talk again.
own_neighbour_address()
{
	local filter way

	family "$1"
	add_other
	for filter in device strict loose; do
		set_filter "$filter"
		check_source "$peer2" rx-onlink p2
		# As a router of the mesh would have it, which learned it from peer 3
		check ip_hub route add "$host2" via "$peer3" dev hub metric 5
		count_from_now
		check_forge hub p2 wg0 "$peer2" "$hub_addr"
		check_forge dropped p1 wg0 "$peer2" "$hub_addr"
		check_counters rx-neighbour=1 rx-drop-peer=1
		# The route leads to peer 3: it may send too.
		count_from_now
		check_forge hub p3 wg0 "$peer2" "$hub_addr"
		check_counters rx-gateway=1
		for way in "dev hub via-wgpeer ${KEY[3]}" "dev other" "blackhole" "unreachable"; do
			check ip_hub "-$f" route flush "$host2" proto boot
			if [[ $way == *black* || $way == unr* ]]; then
				check ip_hub route add "$way" "$host2" metric 5
			else
				# shellcheck disable=SC2086 # words
				check ip_hub route add "$host2" $way metric 5
			fi
			count_from_now
			check_forge hub p2 wg0 "$peer2" "$hub_addr"
			# Where routes of other devices do not count, the one of the hub's address does.
			case "$filter $way" in
			strict* | *black* | *unr* | *via-wgpeer*) check_counters rx-neighbour=1 ;;
			*) check_counters rx-onlink=1 ;;
			esac
			check_forge dropped p1 wg0 "$peer2" "$hub_addr"
		done
		reset_hub
	done
	# AllowedIPs do take it from a peer: that is where neighbours are.
	set_filter device
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+$host2"
	check_source "$peer2" rx-onlink p3
	add_peer 3
	add_peer 2
	# In mode auto, where a route names a peer for it
	set_mode auto
	check ip_hub route add "$host2" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_forge hub p2 wg0 "$peer2" "$hub_addr"
	check_forge hub p3 wg0 "$peer2" "$hub_addr"
	check_forge dropped p1 wg0 "$peer2" "$hub_addr"
	check_counters rx-neighbour=1 rx-wgpeer=1 rx-drop-peer=1
}

# Whoever may be sent to under some rule may answer: all tables count that a rule names,
# whatever it selects by, and none else.
all_tables()
{
	local selector

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check_source "$addr" rx-wgpeer p2
	for selector in "from $hub_addr" "from 198.18.0.1" "to $prefix" "iif lo" "iif hub" "oif hub" \
		"fwmark 1" "not fwmark 1" "uidrange 4747-4748" "ipproto tcp" "ipproto udp sport 53" \
		"dport 4748" "dscp 4" "tos 0x10"; do
		[[ $f == 4 || $selector != *198.18* ]] || selector="from 2001:db8:9::1"
		# shellcheck disable=SC2086 # words
		check rule add $selector table 100 pref 100
		check_source "$addr" rx-wgpeer p2,p3
		check rule del pref 100
		check_source "$addr" rx-wgpeer p2
	done
	# A rule that is never reached, and one that is reached by a goto
	check rule add goto 200 pref 90
	check rule add table 100 pref 100
	check rule add nop pref 200
	check_source "$addr" rx-wgpeer p2,p3
	# Rules that reject count in strict alone.
	check rule del pref 100
	check rule add to "$prefix" blackhole pref 100
	check rule add from all unreachable pref 101
	check_source "$addr" rx-wgpeer p2
}

# The longest prefix of all tables decides, and no shorter one of another table.
longest_of_tables()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" route add "$longest" dev hub via-wgpeer "${KEY[3]}" table 200
	check rule add fwmark 1 table 100 pref 100
	check rule add fwmark 2 table 200 pref 200
	check_source "$nobodys" rx-wgpeer p3
	check_source "$addr" rx-wgpeer p2
	check_source "$longest_addr" rx-wgpeer p3
	check ip_hub "-$f" route add blackhole "$longer" table 100
	check_source "$longer_addr" rx-drop-noroute none
	check_source "$longest_addr" rx-wgpeer p3
	# Of equal ones one that leads to the peer is enough.
	check ip_hub "-$f" route add "$longer" dev hub via-wgpeer "${KEY[2]}" table 200
	check_source "$longer_addr" rx-wgpeer p2
	check ip_hub "-$f" route add "$longer" via "$peer3" dev hub
	count_from_now
	check_forge hub p2 wg0 "$longer_addr" "$hub_addr"
	check_forge hub p3 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p1 wg0 "$longer_addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-gateway=1 rx-drop-peer=1
}

# A peer writes the DSCP of its packets, their ports and their destination: with none of
# these it gets itself judged by another table.
sender_chose()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add dscp 4 table 100 pref 100
	check rule add ipproto udp sport 4747 table 100 pref 101
	check rule add ipproto udp dport 4747 table 100 pref 102
	check rule add from "$lan_addr" table 100 pref 103
	check_source "$addr" rx-wgpeer p2
	check_source "$addr" rx-wgpeer p2 "$hub_addr" tos=0x10
	count_from_now
	check_forge dropped p3 wg0 "$addr" "$lan_addr" tos=0x10
	check_counters rx-drop-peer=1
	# An IPv4 route with a DSCP of its own
	[[ $f == 4 ]] || return
	check ip_hub route add "$longer" tos 0x10 dev hub via-wgpeer "${KEY[3]}"
	check_source "$longer_addr" rx-wgpeer p2 "$hub_addr" tos=0x10
}

throw()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" route add throw "$longer" table 100
	check rule add table 100 pref 100
	check_source "$addr" rx-wgpeer p2,p3
	check_source "$longer_addr" rx-wgpeer p2
	check ip_hub route del "$prefix"
	check_source "$longer_addr" rx-allowedips p1
}

# Rules that hide the short prefixes of a table, and one more that does not
suppressed()
{
	family "$1"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" table 100
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add table 100 suppress_prefixlength 0 pref 100
	check_source "$nobodys" rx-drop-peer none
	check_source "$addr" rx-wgpeer p3
	check rule add table 100 suppress_prefixlength 32 pref 99
	check_source "$nobodys" rx-drop-peer none
	check_source "$addr" rx-wgpeer p3
	check rule add fwmark 7 table 100 pref 101
	check_source "$nobodys" rx-wgpeer p2
	check rule del pref 101
	check rule del pref 100
	check_source "$addr" "$([[ $f == 4 ]] && echo rx-allowedips || echo rx-wgpeer)" \
		"$([[ $f == 4 ]] && echo p1 || echo p3)"
}

for f in 4 6; do
	test_add "IPv$f: a default route" default_route $f
	test_add "IPv$f: the longest of overlapping prefixes" overlapping $f
	test_add "IPv$f: nested prefixes of every length" every_length $f
	test_add "IPv$f: nested prefixes of every length in three tables" every_length $f 100 200
	test_add "IPv$f: no route: AllowedIPs" no_route $f
	test_add "IPv$f: a route to an absent peer" absent_peer $f
	test_add "IPv$f: routes that are not unicast" not_unicast $f
	test_add "IPv$f: sources that no reply could go to" martian $f
	test_add "IPv$f: routes through other devices do not count" other_devices $f
	test_add "IPv$f: nexthop objects of other devices do not count" objects_of_other_devices $f
	test_add "IPv$f: routes of one prefix with several metrics" metrics $f
	test_add "IPv$f: addresses of the hub" own $f
	test_add "IPv$f: odd sources" odd_sources $f
	test_add "IPv$f: the neighbour's own address" own_neighbour_address $f
	test_add "IPv$f: all tables that a rule names" all_tables $f
	test_add "IPv$f: the longest prefix of all tables" longest_of_tables $f
	test_add "IPv$f: what the sender chose does not count" sender_chose $f
	test_add "IPv$f: throw routes" throw $f
	test_add "IPv$f: rules that suppress prefixes" suppressed $f
done
test_add "IPv4: throw routes beside an address of the hub" throw_beside_own
test_add "IPv6: link-local sources" link_local

setup_hub 3 lan
set_mode $MODE
tests_run
