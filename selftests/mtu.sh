#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Large packets: segments, fragments, the MTU of a route and that of a path go with
# the peer that the route names, and are what they are without wgvia.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# mtu_family FAMILY: site_addr is an address of every peer. Behind each is, with an MTU of
# 1300, far.
mtu_family()
{
	family "$1"
	far_prefix=$prefix far=$addr
	if [[ $f == 4 ]]; then
		far2=10.2.0.2 too_big="(mtu = 1300)"
	else
		far2=fd02::2 too_big="mtu=1300"
	fi
}

test_reset()
{
	local ns

	reset_hub
	set_filter device
	hash_by 1
	flush_rules
	for ns in "$hub" "$lan"; do
		ip -n "$ns" route flush cache
		ip -n "$ns" -6 route flush cache
	done
}

# way WAY PREFIX [WORD]...: a route to peer 2 that names it, or one to peer 1 without wgvia
way()
{
	local prefix=$2 words=("${@:3}")

	if [[ $1 == wgpeer ]]; then
		check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" "${words[@]}"
	else
		set_mode off
		check ip_hub route add "$prefix" dev hub "${words[@]}"
	fi
	count_from_now
}

# check_moved WAY SENT RECEIVED: what the counters say of packets by this way
check_moved()
{
	local moved=()

	if [[ $1 == wgpeer ]]; then
		[[ $2 == 0 ]] || moved+=("tx-wgpeer=$2")
		[[ $3 == 0 ]] || moved+=("rx-wgpeer=$3")
	fi
	check_counters "${moved[@]}"
	count_from_now
}

# ping_from NAME DST [OPTION]...: what ping says, and its status
ping_from()
{
	local name=$1 out

	out=$(in_ns "${!name}" ping -n -c 1 -W $((5 * SLOW)) "${@:3}" "$2" 2>&1)
	REPLY=$?$'\n'$out
}

check_answered()
{
	ping_from "$@"
	[[ $REPLY == 0* ]] || fail "no answer to ping $*: $REPLY"
}

# check_too_big TEXT NAME DST [OPTION]...: there is no answer, but this in an error
check_too_big()
{
	local text=$1
	shift

	ping_from "$@"
	[[ $REPLY != 0* && $REPLY == *"$text"* ]] || fail "ping $*: wants \"$text\", got: $REPLY"
}

# GSO, of the hub itself and of a forwarded packet
segments()
{
	mtu_family "$1"
	way "$2" "$site"
	packets large 30 1 "$3" "$site_addr"
	check_eq "datagrams received" "$([[ $2 == wgpeer ]] && echo p2=30 || echo p1=30)" "$REPLY"
	check_moved "$2" 30 0
}

route_mtu()
{
	local fits

	mtu_family "$1"
	fits=$((1300 - header - 8))
	way "$2" "$site" mtu 1300
	check_answered hub "$site_addr" -M "do" -s "$fits"
	check_moved "$2" 1 1
	check_too_big "Message too long" hub "$site_addr" -M "do" -s $((fits + 1))
	check_moved "$2" 0 0
	# Two fragments go out; the peer knows nothing of it.
	check_answered hub "$site_addr" -M dont -s $((fits + 1))
	check_moved "$2" 2 1
	check_answered lan "$site_addr" -M "do" -s "$fits"
	check_moved "$2" 1 1
	check_too_big "$too_big" lan "$site_addr" -M "do" -s $((fits + 1))
	check_moved "$2" 0 0
}

# path DST: the peer and the MTU that the hub has for it
path()
{
	ip_hub -j route get "$1" | jq -r '.[0] | "\(.via_wgpeer) \(.metrics[0].mtu)"' | names
}

# learn_mtu NAME DST: a router behind the peer says that it is less
learn_mtu()
{
	check_too_big "$too_big" "$1" "$2" -M "do" -s 1350
}

learn_mtu_of() { check_too_big "mtu=1420" "$1" "$2" -s 4000; }

# A path that the kernel has learned of is a dst of its own: it leads to the peer too.
path_mtu()
{
	local peer=p1 key=null

	mtu_family "$1"
	[[ $2 != wgpeer ]] || peer=p2 key=K2
	way "$2" "$far_prefix"
	packets open s hub "$far"
	packets again s
	check_eq "sent before" "$peer" "$REPLY"
	check_eq "path before" "$key null" "$(path "$far")"
	learn_mtu hub "$far"
	check_eq "path" "$key 1300" "$(path "$far")"
	check_eq "path to another address" "$key null" "$(path "$far2")"
	count_from_now
	check_send "$peer" hub "$far"
	packets again s
	check_eq "sent by a connected socket" "$peer" "$REPLY"
	check_moved "$2" 2 0
	check_too_big "Message too long" hub "$far" -M "do" -s 1350
	check_moved "$2" 0 0

	if [[ $2 == wgpeer ]]; then
		check ip_hub route replace "$far_prefix" dev hub via-wgpeer "${KEY[3]}"
		check_eq "path after replace" "K3 null" "$(path "$far")"
		check_send p3 hub "$far"
		packets again s
		check_eq "sent by a connected socket after replace" p3 "$REPLY"
		check_moved "$2" 2 0
	fi
	packets close s
}

path_mtu_forwarded()
{
	local peer=p1

	mtu_family "$1"
	[[ $2 != wgpeer ]] || peer=p2
	way "$2" "$far_prefix"
	learn_mtu lan "$far"
	check_send "$peer" lan "$far"
	# The hub forwards and has learned nothing.
	check_eq "path of the hub" null "$(path "$far" | cut -d ' ' -f 2)"
}

# learned [WORD]...: the path by a nexthop object, once it is known to be less
learned()
{
	check ip_hub "-$f" nexthop replace id 1 "$@"
	check ip_hub route add "$far_prefix" nhid 1
	learn_mtu hub "$far"
	REPLY=$(path "$far")
}

path_mtu_object()
{
	mtu_family "$1"
	learned dev hub via-wgpeer "${KEY[2]}"
	check_eq "path" "K2 1300" "$REPLY"
	check_send p2 hub "$far"
	check ip_hub "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	check_eq "path after replace" "K3 null" "$(path "$far")"
	check_send p3 hub "$far"
	check ip_hub nexthop del id 1
	learned via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check_eq "path with a gateway" "K2 1300" "$REPLY"
	check_send p2 hub "$far"
	check ip_hub "-$f" nexthop replace id 1 via "$gateway" dev hub via-wgpeer "${KEY[3]}"
	check_eq "path with a gateway after replace" "K3 null" "$(path "$far")"
	check_send p3 hub "$far"
	check ip_hub nexthop del id 1
	set_mode off
	learned dev hub
	check_eq "path without wgvia" "null 1300" "$REPLY"
	check ip_hub nexthop del id 1
	set_mode auto
	learned dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route replace "$far_prefix" nhid 1 mtu 1290
	check_eq "path by a route with an MTU" "K2 1290" "$(path "$far2")"
	check_too_big "Message too long" hub "$far2" -M "do" -s 1350
	check ip_hub nexthop del id 1
}

# hash_by POLICY: how flows are spread in the hub
hash_by()
{
	in_hub sysctl -qw "net.ipv4.fib_multipath_hash_policy=$1" "net.ipv6.fib_multipath_hash_policy=$1"
}

# path_mtu_group FAMILY [via]: members that differ in the key alone, each of which
# learns for itself, by the first packet to an address. By destination alone: the
# kernel looks for the member that should learn without the protocol, and with a
# source that was not there yet when ping had its route.
path_mtu_group()
{
	local i paths=() via=()

	mtu_family "$1"
	[[ $# == 1 ]] || via=(via "$gateway")
	check ip_hub "-$f" nexthop add id 1 "${via[@]}" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" nexthop add id 2 "${via[@]}" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub nexthop add id 3 group 1/2
	check ip_hub route add "$far_prefix" nhid 3
	hash_by 3
	for i in {10..29}; do
		learn_mtu hub "${far%1}$i"
		paths+=("$(path "${far%1}$i")")
	done
	check_eq "paths" "K2 1300
K3 1300" "$(printf '%s\n' "${paths[@]}" | sort -u)"
}

# Whichever nexthops learn it, each keeps its peer.
path_mtu_multipath()
{
	mtu_family "$1"
	check ip_hub route add "$far_prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	learn_mtu hub "$far"
	count_from_now
	packets spread 30 hub "$far"
	[[ $REPLY =~ ^p2=([0-9]+)\ p3=([0-9]+)$ && $((BASH_REMATCH[1] + BASH_REMATCH[2])) == 30 ]] ||
		fail "30 flows go to: $REPLY"
	check_counters tx-wgpeer=30
}

# 4008 bytes of ICMP are three fragments at the device's 1420.
fragments()
{
	local peer=p1

	mtu_family "$1"
	[[ $2 != wgpeer ]] || peer=p2
	way "$2" "$site"
	check_answered hub "$site_addr" -s 4000
	check_moved "$2" 3 3
	check_answered "$peer" "$hub_addr" -s 4000 -I "$site_addr"
	check_moved "$2" 3 3
	# IPv6 does not cut on the way what it forwards: the sender has to learn of it.
	[[ $f == 4 ]] || learn_mtu_of lan "$site_addr"
	check_answered lan "$site_addr" -s 4000
}

# A rule that has ports: of a datagram that the hub itself sends, all fragments
# follow it, for its route is looked up before it is cut.
ports_own()
{
	local before2 before3

	mtu_family "$1"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$site" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" rule add ipproto udp dport 4747 table 100 pref 100 proto boot
	before2=$(sent_to 2) before3=$(sent_to 3)
	count_from_now
	head -c 4000 /dev/zero | in_hub socat -u STDIN "UDP-SENDTO:$(url "$site_addr"):4747,pf=ip$f"
	check_counters tx-wgpeer=3
	# They are counted there when they have been encrypted.
	busywait has_sent_to 3 $((before3 + 4000)) || fail "peer 3 did not get the fragments"
	[[ $(($(sent_to 2) - before2)) -lt 1000 ]] || fail "peer 2 got fragments"
}

# Of what is forwarded no fragment matches a rule that has ports, not even the
# first, which has them: all go one way. wgvia's own lookups do the same, for a
# packet without a route and, with filter strict, for the source of one.
ports_forwarded()
{
	local fragment

	mtu_family "$1"
	set_filter strict
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$site" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" rule add ipproto udp dport 4747 table 100 pref 100 proto boot
	check_forge p3 lan hub "$lan_addr" "$site_addr"
	check_forge p3 hub hub "$hub_addr" "$site_addr"
	check_forge hub p3 wg0 "$site_addr" "$hub_addr"
	check_forge dropped p2 wg0 "$site_addr" "$hub_addr"
	for fragment in first later; do
		check_forge p2 lan hub "$lan_addr" "$site_addr" "$fragment"
		check_forge p2 hub hub "$hub_addr" "$site_addr" "$fragment"
		check_forge hub p2 wg0 "$site_addr" "$hub_addr" "$fragment"
		check_forge dropped p3 wg0 "$site_addr" "$hub_addr" "$fragment"
	done
	# Rules match the fields that fragments do have.
	check ip_hub "-$f" rule flush proto boot
	check ip_hub "-$f" rule add ipproto udp table 100 pref 100 proto boot
	for fragment in first later; do
		check_forge p3 lan hub "$lan_addr" "$site_addr" "$fragment"
		check_forge p3 hub hub "$hub_addr" "$site_addr" "$fragment"
		check_forge hub p3 wg0 "$site_addr" "$hub_addr" "$fragment"
		check_forge dropped p2 wg0 "$site_addr" "$hub_addr" "$fragment"
	done
}

for f in 4 6; do
	for way in wgpeer allowedips; do
		test_add "IPv$f: segments of a large send, by $way" segments $f $way hub
		test_add "IPv$f: segments of a forwarded large packet, by $way" segments $f $way lan
		test_add "IPv$f: the MTU of a route, by $way" route_mtu $f $way
		test_add "IPv$f: a learned MTU, by $way" path_mtu $f $way
		test_add "IPv$f: a forwarded MTU error, by $way" path_mtu_forwarded $f $way
		test_add "IPv$f: fragments, by $way" fragments $f $way
	done
	test_add "IPv$f: a learned MTU and a nexthop object" path_mtu_object $f
	test_add "IPv$f: a learned MTU and a nexthop group" path_mtu_group $f
	test_add "IPv$f: a learned MTU and a nexthop group with a gateway" path_mtu_group $f via
	test_add "IPv$f: a learned MTU and a multipath route" path_mtu_multipath $f
	test_add "IPv$f: fragments of our own, and rules with ports" ports_own $f
	test_add "IPv$f: fragments of others, and rules with ports" ports_forwarded $f
done

setup_hub 3 lan
for ns in "$hub" "$lan" "$p1" "$p2" "$p3"; do
	# Nobody complains of fragments that are never whole.
	in_ns "$ns" sysctl -qw net.ipv4.ipfrag_time=600 net.ipv6.ip6frag_time=600
done
for ns in "$p1" "$p2" "$p3"; do
	ip -n "$ns" -batch - <<-END
		address add fd01::1/128 dev lo
		link add far type dummy
		link set far addrgenmode none mtu 1300 up
		route add 10.2.0.0/16 dev far
		route add fd02::/48 dev far
	END
	in_ns "$ns" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.wg0.force_forwarding=1
done
# Where forge sends what is for nobody.
check ip_hub link set lan address 02:00:00:00:00:00
# Every gc_interval the kernel forgets what it learned by a gateway that is no router, as none is
# on a device without neighbour discovery, nor to lan the hub, which forwards by device alone.
for ns in "$hub" "$lan"; do
	in_ns "$ns" sysctl -qw net.ipv6.route.gc_interval=3600
done
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1 net.ipv4.fib_multipath_hash_fields=2 \
	net.ipv6.fib_multipath_hash_fields=2
hash_by 1
set_mode $MODE
tests_run
