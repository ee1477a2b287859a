#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Groups of nexthop objects that name a peer.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

nexthop() { ip_hub "-$f" nexthop "$@"; }

# members FAMILY: objects 1 to 3, which lead to peer 1 to 3
members()
{
	local i

	family "$1"
	for i in 1 2 3; do
		check nexthop add id "$i" dev hub via-wgpeer "${KEY[i]}"
	done
}

# group FAMILY [WORD]...: a group of a type
group()
{
	members "$1"
	shift
	check ip_hub nexthop add id 10 group 2/3 "$@"
	check ip_hub route add "$prefix" nhid 10
	check_eq "nexthops of the route" "K2 K3" "$(ip_hub "-$f" -j route show "$prefix" |
		jq -r '[.[0].nexthops[].via_wgpeer] | join(" ")' | names)"
	check_spread "$addr" p2 p3
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2 rx-drop-peer=1
	check nexthop replace id 3 dev hub via-wgpeer "${KEY[1]}"
	check_spread "$addr" p1 p2
	check_forge hub p1 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check nexthop del id 3
	check_spread "$addr" p2
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check ip_hub nexthop replace id 10 group 1/2 "$@"
	check_spread "$addr" p1 p2
}

# A member that names no peer, and one on another device
mixed_group()
{
	family "$1"
	set_mode on
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check nexthop add id 1 dev hub via-wgpeer "${KEY[3]}"
	check nexthop add id 2 via "$gateway" dev hub
	check nexthop add id 3 dev other
	check ip_hub nexthop add id 10 group 1/2/3
	check ip_hub route add "$prefix" nhid 10
	count_from_now
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-gateway=1 rx-drop-peer=1
	check ip_hub link del other
	check_spread "$addr" p2 p3
}

# all: objects, routes and what the device makes of them
all()
{
	ip_hub -d nexthop show
	routes "$f"
	show '.states, .bindings'
}

# check_refused TEXT COMMAND...: and nothing has changed
check_refused()
{
	local before

	before=$(all)
	check_fails "$@"
	check_eq "what there is after ${*:2}" "$before" "$(all)"
}

# weights FAMILY NAME [WORD]...: of the flows that it sends, with a group of a type
weights()
{
	members "$1"
	check ip_hub nexthop add id 10 group 2,3/3,1 "${@:3}"
	check ip_hub route add "$prefix" nhid 10
	check_three_to_one "$2" "$addr"
}

# 1 to 65535, of which ip refuses some itself, and the kernel one
weights_refused()
{
	local command weight

	members "$1"
	check ip_hub nexthop add id 10 group 2,65535/3
	check ip_hub route add "$prefix" nhid 10
	for command in "add id 11" "replace id 10"; do
		for weight in 0 65537; do
			# shellcheck disable=SC2086 # words of a command
			check_refused "Error: argument \"$weight\" is wrong: \"weight\" is invalid" \
				ip_hub nexthop $command group "2/3,$weight"
		done
		# shellcheck disable=SC2086 # words of a command
		check_refused "Error: Invalid value for weight." \
			ip_hub nexthop $command group 2/3,65536
	done
	check_eq "group" '{"id":10,"group":[{"id":2,"weight":65535},{"id":3}]}' \
		"$(ip_hub -j nexthop get id 10 | jq -c '.[0] | del(.flags)')"
}

# A group whose only member is a blackhole, which is then a peer, and a blackhole again
blackhole_alone()
{
	local filter

	members "$1"
	set_mode on
	check nexthop add id 4 blackhole
	check ip_hub nexthop add id 10 group 4
	check ip_hub route add "$prefix" nhid 10
	check_eq "route" "blackhole $prefix 10" \
		"$(ip_hub "-$f" -j route show "$prefix" | jq -r '.[0] | "\(.type) \(.dst) \(.nhid)"')"
	count_from_now
	check_send EINVAL hub "$addr"
	check_counters
	for filter in strict device; do
		set_filter "$filter"
		check_source "$addr" rx-drop-noroute none
	done

	check nexthop replace id 4 dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr" src="$hub_addr"
	packets again s
	check_eq "sent by a connected socket" p2 "$REPLY"
	check_send p2 hub "$addr"
	check_source "$addr" rx-wgpeer p2

	check nexthop replace id 4 blackhole
	count_from_now
	packets again s
	check_eq "sent by a connected socket to the blackhole" EINVAL "$REPLY"
	check_send EINVAL hub "$addr"
	check_counters
	check_source "$addr" rx-drop-noroute none

	check nexthop replace id 4 dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "sent by a connected socket after the blackhole" p3 "$REPLY"
	packets close s
	check_source "$addr" rx-wgpeer p3
}

# blackhole_among_others FAMILY [WORD]...: a group of a type has none
blackhole_among_others()
{
	local command members

	members "$1"
	shift
	check nexthop add id 4 blackhole
	check ip_hub nexthop add id 10 group 2/3 "$@"
	check ip_hub route add "$prefix" nhid 10
	for members in 2/4 4/2 1/2/4; do
		for command in "add id 11" "replace id 10"; do
			# shellcheck disable=SC2086 # words of a command
			check_refused "Error: Blackhole nexthop can not be used in a group with more than 1 path." \
				ip_hub nexthop $command group $members "$@"
		done
	done
	check_refused "Error: Blackhole nexthop can not be a member of a group with more than one path." \
		nexthop replace id 2 blackhole
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2
	check_spread "$addr" p2 p3
}

# buckets: how many each member has
buckets()
{
	ip_hub -j nexthop bucket show id 10 |
		jq -r 'group_by(.bucket.nhid) | map("\(.[0].bucket.nhid)=\(length)") | join(" ")'
}

# again_all: where each of the flows goes
again_all()
{
	local flow

	for flow in {1..12}; do
		packets again "$flow"
		echo "$flow $REPLY"
	done
}

flows_are() { [[ $(again_all) == "$1" ]]; }

# check_moved WHAT EXPECTED: where each of the flows goes after a nexthop has. Without fixes/0004 a
# socket goes on by that nexthop for a grace period.
check_moved()
{
	((!STOCK)) || busywait flows_are "$2"
	check_eq "$1" "$2" "$(again_all)"
}

# resilient FAMILY NAME [OPTION]...: flows that it sends stay on their peer when another comes
# to a group, which gets what is idle. What is moved is what has to.
#
# (A connected IPv6 socket has its source bound: one without chooses its first way before it
# has a source, and when routes have changed, with one. That may be another way, in any group.)
resilient()
{
	local flow flows

	members "$1"
	check ip_hub nexthop add id 10 group 2/3 type resilient buckets 64 idle_timer 10000
	check ip_hub route add "$prefix" nhid 10
	check_eq "buckets" "2=32 3=32" "$(buckets)"
	for flow in {1..12}; do
		packets open "$flow" "$2" "$addr" "${@:3}"
	done
	flows=$(again_all)

	check ip_hub nexthop replace id 10 group 1/2/3 type resilient buckets 64 idle_timer 10000
	check_eq "buckets of three" 64 "$(($(buckets | sed -E 's/[0-9]+=//g; s/ /+/g')))"
	[[ $(buckets) =~ ^1=2[12]\ 2=2[12]\ 3=2[12]$ ]] || fail "buckets of three: $(buckets)"
	check_eq "flows with another member" "$flows" "$(again_all)"
	check_spread "$addr" p1 p2 p3

	check nexthop replace id 2 dev hub via-wgpeer "${KEY[1]}"
	check_moved "flows with a member replaced" "${flows//p2/p1}"
	check_spread "$addr" p1 p3

	check nexthop del id 3
	flows=${flows//p2/p1}
	check_moved "flows with a member less" "${flows//p3/p1}"
	check_eq "buckets of two" "1=32 2=32" "$(buckets)"
	for flow in {1..12}; do
		packets close "$flow"
	done
}

# sends_to N: something from the socket, and that peer has been sent something: a handshake
sends_to()
{
	echo >&"$socket"
	wg show here transfer | awk -v key="${KEY[$1]}" '$1 == key { sent = $3 } END { exit !sent }'
}

# A connected socket in init_net, where the device of a dst that is dead is
init_net()
{
	local i sent socket

	family "$1"
	# By a device that stays, the routes of init_net would keep dsts.
	check ip link add there type dummy
	check ip address add 203.0.113.1/24 dev there
	check ip link set there up
	check ip link add here type wireguard
	check wg set here private-key <(wg genkey)
	for i in 1 2 3; do
		check wg set here peer "${KEY[i]}" endpoint 203.0.113.2:9
	done
	check ip link set here up
	check ip address add "$hub_addr" dev here
	check wgvia set here mode on
	for i in 1 2; do
		check ip "-$f" nexthop add id "$i" dev here via-wgpeer "${KEY[i]}"
	done
	check ip nexthop add id 10 group 1
	check ip "-$f" route add "$prefix" metric 10 nhid 10
	check ip "-$f" route add "$prefix" metric 20 nhid 2
	exec {socket}<>"/dev/udp/$addr/9"
	busywait sends_to 1 || fail "the member of the group gets nothing"
	check ip "-$f" nexthop replace id 1 dev here via-wgpeer "${KEY[3]}"
	busywait sends_to 3 || fail "what the member is replaced by gets nothing"
	check ip nexthop del id 1
	busywait sends_to 2 || fail "the other route gets nothing when the group is gone"
	# No route uses this group, but one a member of it: its dsts are released.
	check ip nexthop add id 11 group 2
	check ip nexthop replace id 11 group 2
	sent=$(wgvia show -j here | jq '.[0].counters.tx_wgpeer')
	echo >&"$socket"
	check_eq "packets sent when a group was replaced" $((sent + 1)) \
		"$(wgvia show -j here | jq '.[0].counters.tx_wgpeer')"
	exec {socket}>&-
	check ip link del here
	check ip link del there
}

cleanup_file()
{
	ip link del here 2>/dev/null
	ip link del there 2>/dev/null
}

bucket_commands()
{
	local of_two

	members "$1"
	check ip_hub nexthop add id 10 group 2/3 type resilient buckets 8 idle_timer 10000
	check ip_hub nexthop add id 11 group 1
	of_two=$(ip_hub -j nexthop bucket show nhid 2 | jq -r '.[].bucket.index')
	check_eq "buckets of a member" 4 "$(wc -w <<<"$of_two")"
	check_eq "buckets" "8 0 1 2 3 4 5 6 7" "$(ip_hub -j nexthop bucket show |
		jq -r '[length, .[].bucket.index] | join(" ")')"
	check_eq "a bucket" 2 "$(ip_hub -j nexthop bucket get id 10 index "${of_two%%$'\n'*}" |
		jq -r '.[0].bucket.nhid')"
	check_refused "Error: Bucket index out of bounds." ip_hub nexthop bucket get id 10 index 8
	check_refused "Error: Can not replace a nexthop group with one of a different type." \
		ip_hub nexthop replace id 10 group 2/3
}

# check_object ID JSON: alone, and among all
check_object()
{
	check_eq "ip nexthop get id $1" "$2" \
		"$(ip_hub -j nexthop get id "$1" | jq -c '.[] | del(.scope, .flags)' | names)"
	check_eq "$1 in ip nexthop show" "$2" \
		"$(ip_hub -j nexthop show | jq -c ".[] | select(.id == $1) | del(.scope, .flags)" | names)"
}

# Whatever becomes of a group, its members keep their keys, and it has none.
json()
{
	local resilient='"resilient_args":{"buckets":8,"idle_timer":0,"unbalanced_timer":0,"unbalanced_time":0}'

	members "$1"
	check nexthop add id 4 via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check nexthop add id 5 blackhole
	check ip_hub nexthop add id 10 group 2/3,2
	check ip_hub nexthop add id 11 group 2/4 type resilient buckets 8 idle_timer 0
	check_object 2 '{"id":2,"via_wgpeer":"K2","dev":"hub"}'
	check_object 4 "{\"id\":4,\"via_wgpeer\":\"K2\",\"gateway\":\"$gateway\",\"dev\":\"hub\"}"
	check_object 5 '{"id":5,"blackhole":null}'
	check_object 10 '{"id":10,"group":[{"id":2},{"id":3,"weight":2}]}'
	check_object 11 "{\"id\":11,\"group\":[{\"id\":2},{\"id\":4}],\"type\":\"resilient\",$resilient}"
	check nexthop replace id 2 dev hub via-wgpeer "${KEY[3]}"
	check nexthop replace id 4 dev hub via-wgpeer "${KEY[1]}"
	check ip_hub nexthop replace id 10 group 1/2,256
	check_object 2 '{"id":2,"via_wgpeer":"K3","dev":"hub"}'
	check_object 4 '{"id":4,"via_wgpeer":"K1","dev":"hub"}'
	check_object 10 '{"id":10,"group":[{"id":1},{"id":2,"weight":256}]}'
	check nexthop del id 2
	check_object 10 '{"id":10,"group":[{"id":1}]}'
	check_object 11 "{\"id\":11,\"group\":[{\"id\":4}],\"type\":\"resilient\",$resilient}"
	check ip_hub nexthop del id 10
	check_object 1 '{"id":1,"via_wgpeer":"K1","dev":"hub"}'
	check_eq "members by device" "1 3 4" "$(ip_hub -j nexthop show dev hub | jq -r '[.[].id] | join(" ")')"
	check_eq "groups" "11" "$(ip_hub -j nexthop show groups | jq -r '[.[].id] | join(" ")')"
}

# Of an object, and of each route through a group that it is in
monitor()
{
	local deleted="" pid

	members "$1"
	# IPv4 does not tell of routes that go with their nexthop object.
	[[ $f == 4 ]] || deleted="
Deleted $prefix nhid 10
nexthop via-wgpeer K1 dev hub weight 2
nexthop via-wgpeer K1 dev hub weight 1"
	nsenter --net="/run/netns/$hub" ip monitor nexthop route >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check ip_hub nexthop add id 10 group 2,3/3
	check ip_hub route add "$prefix" nhid 10
	check nexthop replace id 2 dev hub via-wgpeer "${KEY[1]}"
	check nexthop del id 3
	check ip_hub nexthop replace id 10 group 1,2/2
	check ip_hub nexthop del id 10
	check nexthop del id 1
	busywait grep -q "Deleted id 1 " "$TMP/monitor" || fail "no notification of the end"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "notifications" "id 10 group 2,3/3
$prefix nhid 10
nexthop via-wgpeer K2 dev hub weight 3
nexthop via-wgpeer K3 dev hub weight 1
id 2 via-wgpeer K1 dev hub
$prefix nhid 10
nexthop via-wgpeer K1 dev hub weight 3
nexthop via-wgpeer K3 dev hub weight 1
Deleted id 3 via-wgpeer K3 dev hub
id 10 group 2,3
id 10 group 1,2/2
$prefix nhid 10
nexthop via-wgpeer K1 dev hub weight 2
nexthop via-wgpeer K1 dev hub weight 1
Deleted id 10 group 1,2/2$deleted
Deleted id 1 via-wgpeer K1 dev hub" \
		"$(names <"$TMP/monitor" | sed -E 's/[ \t]+/ /g; s/^ | (scope|metric) .*| $//g')"
}

# A request that ip does not send: a group of objects 1 to 300
BIG_GROUP='
import struct
from lib import NLM_F_CREATE, NLM_F_EXCL, Netlink, attr
RTM_NEWNEXTHOP, NHA_ID, NHA_GROUP = 104, 1, 2
members = b"".join(struct.pack("=IBBH", number, 0, 0, 0) for number in range(1, 301))
error, text, _ = Netlink().request(
    RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL,
    bytes(8) + attr(NHA_ID, struct.pack("=I", 1000)) + attr(NHA_GROUP, members))
print(error, text)
'

many()
{
	local i key

	family "$1"
	for i in {1..300}; do
		case $i in
		1) key=${KEY[1]} ;;
		[2-9]|[1-9][0-9]) key=${KEY[2]} ;;
		*) key=${KEY[3]} ;;
		esac
		echo "nexthop add id $i dev hub via-wgpeer $key"
	done >"$TMP/batch"
	check ip_hub "-$f" -batch "$TMP/batch"
	check_refused 'addattr_l ERROR: message exceeded bound of 1048
Error: argument "1" is wrong: "group" value is invalid' \
		ip_hub nexthop add id 1000 group "$(seq -s / 300)"
	check_eq "error and words" "0 " "$(in_hub python3 -c "$BIG_GROUP" 2>&1)"
	check_eq "members" 300 "$(ip_hub -j nexthop get id 1000 | jq '.[0].group | length')"
	check ip_hub route add "$prefix" nhid 1000
	check_states 300
	check_bindings "K1=1 K2=98 K3=201"

	count_from_now
	packets spread 90 hub "$addr"
	# 30 and 60, give or take 5 standard deviations
	[[ $(share p2) -ge 8 && $(share p3) -ge 38 ]] || fail "flows go to: $REPLY"
	check_counters tx-wgpeer=90
	count_from_now
	# The filter looks at the first of them alone: see bounds.sh.
	for i in 1 2; do
		check_forge hub "p$i" wg0 "$addr" "$hub_addr"
	done
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2 rx-drop-peer=1
	check nexthop del id 1
	check_source "$addr" rx-wgpeer p2
	check ip_hub nexthop del id 1000
	check_eq "routes" "" "$(routes "$f")"
	check_states 299
}

for f in 4 6; do
	test_add "IPv$f: a group" group $f
	test_add "IPv$f: a resilient group" group $f type resilient buckets 32 idle_timer 0
	test_add "IPv$f: a group of all kinds" mixed_group $f
	test_add "IPv$f: flows are spread by weight" weights $f hub
	test_add "IPv$f: flows are spread by weight, forwarded, resilient" weights $f lan type resilient buckets 64
	test_add "IPv$f: weights that there are not" weights_refused $f
	test_add "IPv$f: a blackhole alone" blackhole_alone $f
	test_add "IPv$f: a blackhole among others" blackhole_among_others $f
	test_add "IPv$f: a blackhole among others, resilient" blackhole_among_others $f type resilient buckets 32
	test_add "IPv$f: resilient: flows stay" resilient $f hub connect=no
	test_add "IPv$f: resilient: connected flows stay" resilient $f hub src="$([[ $f == 4 ]] && echo 10.0.0.254 || echo fd00::fe)"
	test_add "IPv$f: resilient: forwarded flows stay" resilient $f lan
	test_add "IPv$f: resilient: buckets" bucket_commands $f
	test_add "IPv$f: JSON" json $f
	test_add "IPv$f: monitor" monitor $f
	test_add "IPv$f: 300 members" many $f
	test_add "IPv$f: a connected socket in init_net" init_net $f
done

setup_hub 3 lan
set_mode $MODE
in_hub sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
tests_run
