#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nexthop objects that name a peer. Groups of them are in nexthop_group.sh.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

nexthop() { ip_hub "-$f" nexthop "$@"; }

# check_nexthop ID FIELDS: as JSON without what depends on the family
check_nexthop()
{
	check_eq "nexthop $1" "$2" \
		"$(ip_hub -j nexthop get id "$1" | jq -c '.[0] | {via_wgpeer, gateway, dev, encap}' | names)"
}

commands()
{
	family "$1"
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check_nexthop 1 '{"via_wgpeer":"K2","gateway":null,"dev":"hub","encap":null}'
	[[ $(ip_hub nexthop show id 1 | names) == "id 1 via-wgpeer K2 dev hub "* ]] ||
		fail "ip nexthop show: $(ip_hub nexthop show id 1 | names)"
	check_fails "RTNETLINK answers: File exists" \
		nexthop add id 1 dev hub via-wgpeer "${KEY[3]}"
	check_nexthop 1 '{"via_wgpeer":"K2","gateway":null,"dev":"hub","encap":null}'
	check nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	check_nexthop 1 '{"via_wgpeer":"K3","gateway":null,"dev":"hub","encap":null}'
	check nexthop add id 2 via "$gateway" dev hub via-wgpeer "${KEY[1]}"
	check_nexthop 2 "{\"via_wgpeer\":\"K1\",\"gateway\":\"$gateway\",\"dev\":\"hub\",\"encap\":null}"
	check_bindings "K1=1 K3=1"
	check nexthop del id 1
	check nexthop del id 2
	check_bindings ""
}

refused()
{
	family "$1"
	check_fails "$NEEDS_WIREGUARD" nexthop add id 1 dev ul via-wgpeer "${KEY[2]}"
	check_fails "Error: Device attribute required for non-blackhole and non-fdb nexthops." \
		nexthop add id 1 via-wgpeer "${KEY[2]}"
	check_fails "Error: Blackhole attribute can not be used with gateway, oif, encap or fdb." \
		nexthop add id 1 blackhole via-wgpeer "${KEY[2]}"
	check_eq "nexthops" "" "$(ip_hub nexthop show)"
	check_warns "$NO_PEER_YET" nexthop add id 1 dev hub via-wgpeer "$(wg genkey | wg pubkey)"
	check nexthop del id 1
	set_mode off
	check_fails "$MODE_OFF" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" nexthop add id 1 dev hub via-wgpeer "$(wg genkey | wg pubkey)"
	check_eq "nexthops" "" "$(ip_hub nexthop show)"
}

route_uses_it()
{
	family "$1"
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" nhid 1
	check_eq "route" "$prefix K2" \
		"$(ip_hub "-$f" -j route show "$prefix" | jq -r '.[0] | "\(.dst) \(.via_wgpeer)"' | names)"
	check_eq "ip route get" K2 "$(ip_hub -j route get "$addr" | jq -r '.[0].via_wgpeer' | names)"
	count_from_now
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1 rx-drop-peer=1
	check_states 1
	not_its_key "$prefix"
	check nexthop del id 1
	check_eq "routes without the nexthop" "" "$(routes "$f")"
}

# not_its_key PREFIX: it is not deleted by its peer's key, which is the object's, as it
# is not by a gateway of the object
not_its_key()
{
	check_fails "RTNETLINK answers: No such process" \
		ip_hub route del "$1" via-wgpeer "${KEY[2]}"
	check_fails "RTNETLINK answers: No such process" \
		ip_hub route del "$1" dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthop object of the route" 1 \
		"$(ip_hub "-$f" -j route show "$1" | jq '.[0].nhid')"
}

# An object of IPv6 may carry an IPv4 route.
other_family()
{
	family 4
	check ip_hub -6 nexthop add id 1 via fd00::3 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" nhid 1
	count_from_now
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1 rx-drop-peer=1
	not_its_key "$prefix"
	check nexthop del id 1
	check_eq "routes without the nexthop" "" "$(routes 4)"
}

# One command moves all routes and all connected sockets.
replaced()
{
	local i

	family "$1"
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	for i in {0..199}; do
		if [[ $f == 4 ]]; then
			echo "route add 10.2.$i.0/24 nhid 1"
		else
			printf 'route add fd02:0:0:%x::/64 nhid 1\n' "$i"
		fi
	done >"$TMP/batch"
	check ip_hub -batch "$TMP/batch"
	[[ $f == 4 ]] && addr2=10.2.199.1 addr=10.2.0.1
	[[ $f == 6 ]] && addr2=fd02:0:0:c7::1 addr=fd02::1
	packets open s hub "$addr"
	packets again s
	check_eq "sent by a connected socket" p2 "$REPLY"
	check_send p2 hub "$addr2"
	check nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "sent by a connected socket after the change" p3 "$REPLY"
	packets close s
	check_send p3 hub "$addr"
	check_send p3 hub "$addr2"
	check_forge hub p3 wg0 "$addr2" "$hub_addr"
	check_forge dropped p2 wg0 "$addr2" "$hub_addr"
	check_bindings "K3=1"
	check nexthop replace id 1 via "$gateway" dev hub
	check_states 0
	check nexthop del id 1
}

# A connected socket when its route goes, and the object stays
route_goes()
{
	local i

	family "$1"
	for i in 2 3; do
		check nexthop add id "$i" dev hub via-wgpeer "${KEY[i]}"
		check ip_hub route add "$prefix" metric "${i}0" nhid "$i"
	done
	packets open s hub "$addr"
	packets again s
	check_eq "sent by a connected socket" p2 "$REPLY"
	check ip_hub route del "$prefix" metric 20
	packets again s
	check_eq "sent by a connected socket when its route has gone" p3 "$REPLY"
	packets close s
}

# Another device under a nexthop: its routes go there, and what the peer may send with them.
other_device()
{
	family "$1"
	check ip_hub link add hub2 type wireguard
	in_hub wg set hub2 private-key /dev/stdin peer "${KEY[2]}" <<<"$(wg genkey)"
	check ip_hub link set hub2 up
	set_mode on
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" nhid 1
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check nexthop replace id 1 dev hub2 via-wgpeer "${KEY[2]}"
	count_from_now
	# The routes of this device know nothing of it any more.
	check_forge dropped p2 wg0 "$addr" "$hub_addr"
	check_forge hub p1 wg0 "$addr" "$hub_addr"
	check_counters rx-drop-peer=1 rx-allowedips=1
	check_states 0
	check_eq "nexthops of the other device" 1 \
		"$(in_hub wgvia show -j hub2 | jq '.[0].states')"
	# It has no endpoint for the peer, which is how it can be told.
	check_send EDESTADDRREQ hub "$addr"
	check nexthop replace id 1 dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check nexthop del id 1
	check ip_hub link del hub2
}

# The datagrams of a socket, and how many it sends, when told to stop
SENDER='
import signal, socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 4748))
sent = 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(sent)))
print("ready", flush=True)
while True:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    sock.send(b"x")
    sent += 1
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
'

# all_sent: how many packets the devices have sent to the peer or nowhere
all_sent()
{
	echo $(($(show .counters.tx_wgpeer) + $(in_hub wgvia show -j hub2 | jq '.[0].counters.tx_wgpeer') +
		$(ip_hub -j -s link show other | jq '.[0].stats64.tx.packets')))
}

# other_ways: how many packets WireGuard devices have sent by another way, or not at all
other_ways()
{
	in_hub wgvia show -j | jq '[.[].counters | to_entries[] |
		select((.key | startswith("tx")) and .key != "tx_wgpeer").value] | add'
}

# The device of a nexthop changes under a socket that sends all the time: each
# packet goes through the one device or the other, and none is lost.
other_device_with_traffic()
{
	local dev pid before drops ready sent used sender

	family "$1"
	set_mode on
	check ip_hub link add other type dummy
	check ip_hub link set other addrgenmode none up
	check ip_hub link add hub2 type wireguard
	in_hub wg set hub2 private-key /dev/stdin peer "${KEY[2]}" endpoint 192.0.2.2:1 \
		<<<"$(wg genkey)"
	check in_hub wgvia set hub2 mode on
	check ip_hub link set hub2 addrgenmode none up
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" nhid 1
	before=$(all_sent) drops=$(other_ways)

	exec {sender}< <(exec nsenter --net="/run/netns/$hub" python3 -c "$SENDER" "$addr" 2>&1)
	pid=$!
	read -r -t $((20 * SLOW)) -u "$sender" ready
	check_eq "sender" ready "$ready"
	for dev in other hub2 hub other hub hub2 other hub; do
		case $dev in
		other) check nexthop replace id 1 dev other ;;
		*) check nexthop replace id 1 dev "$dev" via-wgpeer "${KEY[2]}" ;;
		esac
		used=$(sent_by "$dev")
		busywait sends_by "$dev" $((used + 20)) || fail "nothing is sent through $dev"
	done
	kill "$pid"
	read -r -t $((20 * SLOW)) -u "$sender" sent
	exec {sender}<&-
	wait "$pid" 2>/dev/null

	check_eq "packets that the devices have sent" "$sent" "$(($(all_sent) - before))"
	check_eq "packets by other ways" 0 "$(($(other_ways) - drops))"
	check nexthop del id 1
	busywait no_states_at_all ||
		fail "nexthops that name a peer: $(in_hub wgvia show -j | jq -c '[.[] | [.ifname, .states]]')"
	check ip_hub link del hub2
	check ip_hub link del other
}

no_states_at_all() { [[ $(in_hub wgvia show -j | jq '[.[].states] | add') == 0 ]]; }

sent_by()
{
	case $1 in
	other) ip_hub -j -s link show other | jq '.[0].stats64.tx.packets' ;;
	*) in_hub wgvia show -j "$1" | jq '.[0].counters.tx_wgpeer' ;;
	esac
}

sends_by() { [[ $(sent_by "$1") -ge $2 ]]; }

blackhole()
{
	family "$1"
	set_mode on
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check nexthop add id 2 blackhole
	check ip_hub route add "$prefix" nhid 2
	check ip_hub route add "$prefix2" nhid 1
	count_from_now
	check_forge dropped p2 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr2" "$hub_addr"
	check_counters rx-drop-noroute=1 rx-wgpeer=1
	check nexthop replace id 2 dev hub via-wgpeer "${KEY[3]}"
	check_send p3 hub "$addr"
	check nexthop replace id 1 blackhole
	check_forge dropped p2 wg0 "$addr2" "$hub_addr"
	check_states 1
}

monitor()
{
	local pid

	family "$1"
	nsenter --net="/run/netns/$hub" ip monitor nexthop >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	check nexthop del id 1
	busywait lines "$TMP/monitor" 3 || fail "fewer than 3 notifications"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "notifications" "id 1 via-wgpeer K2 dev hub
id 1 via-wgpeer K3 dev hub
Deleted id 1 via-wgpeer K3 dev hub" \
		"$(names <"$TMP/monitor" | sed -E 's/ +/ /g; s/(dev hub) .*/\1/')"
}

for f in 4 6; do
	test_add "IPv$f: add, show, get, replace, del, JSON" commands $f
	test_add "IPv$f: errors and warnings" refused $f
	test_add "IPv$f: a route uses a nexthop object" route_uses_it $f
	test_add "IPv$f: replacing it moves all its routes" replaced $f
	test_add "IPv$f: a connected socket whose route goes" route_goes $f
	test_add "IPv$f: replacing it moves to another device" other_device $f
	test_add "IPv$f: another device under traffic" other_device_with_traffic $f
	test_add "IPv$f: blackhole" blackhole $f
	test_add "IPv$f: monitor" monitor $f
done

test_add "IPv4: a route uses an IPv6 nexthop object" other_family

setup_hub 3
set_mode $MODE
tests_run
