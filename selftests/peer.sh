#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A route outlives its peer: while the peer is absent the sender gets ENOKEY or
# an ICMP error, and traffic flows again when a peer with the key is added.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# check_binding KEY STATES PRESENT
check_binding()
{
	check_eq "binding of $1" "$1 $2 $3" \
		"$(show '.bindings[] | "\(.key) \(.states) \(.present)"' | names | grep "^$1 ")"
}

removed_and_added()
{
	local before

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[3]}"
	before=$(ip_hub -d "-$1" route show)
	packets open s hub "$addr"
	packets again s
	check_eq "sent before" p2 "$REPLY"
	check_binding K2 1 true

	check remove_peer 2
	count_from_now
	check_send ENOKEY hub "$addr"
	check_send "$unreachable" lan "$addr"
	packets again s
	check_eq "sent by a connected socket without the peer" ENOKEY "$REPLY"
	check_counters tx-drop-wgpeer=3
	check_send p3 hub "$addr3"
	check_binding K2 1 false
	check_binding K3 1 true
	check_eq "routes without the peer" "$before" "$(ip_hub -d "-$1" route show)"

	check add_peer 2
	count_from_now
	check_send p2 hub "$addr"
	check_send p2 lan "$addr"
	packets again s
	check_eq "sent by a connected socket after" p2 "$REPLY"
	packets close s
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=3 rx-wgpeer=1 rx-drop-peer=1
	check_binding K2 1 true
	check_eq "routes after" "$before" "$(ip_hub -d "-$1" route show)"
}

again_and_again()
{
	local i

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	for i in {1..8}; do
		remove_peer 2
		check_send ENOKEY hub "$addr"
		add_peer 2
		check_send p2 hub "$addr"
	done
}

# wg setconf takes all peers away and adds those of its file.
setconf()
{
	local i

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[3]}"
	in_hub wg showconf hub >"$TMP/conf"
	check in_hub wg setconf hub "$TMP/conf"
	check_binding K2 1 true
	check_binding K3 1 true
	check_send p2 hub "$addr"
	check_send p3 hub "$addr3"
	cat >"$TMP/one" <<-END
		[Interface]
		PrivateKey = ${PRIVATE[0]}
		ListenPort = 51820
		[Peer]
		PublicKey = ${KEY[3]}
		Endpoint = 192.0.2.2:51823
	END
	check in_hub wg setconf hub "$TMP/one"
	check_binding K2 1 false
	check_binding K3 1 true
	check_send ENOKEY hub "$addr"
	check_send p3 hub "$addr3"
	check in_hub wg setconf hub "$TMP/conf"
	for i in 1 2 3; do
		check_send "p$i" hub "10.0.0.$i"
	done
}

# A device drops the peer that has its own key.
own_key()
{
	local i

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	in_hub wg set hub private-key /dev/stdin <<<"${PRIVATE[2]}"
	check_binding K2 1 false
	check_send ENOKEY hub "$addr"
	in_hub wg set hub private-key /dev/stdin <<<"${PRIVATE[0]}"
	for i in 1 2 3; do
		# Without its old session, which the other key ended.
		check remove_peer "$i"
		check add_peer "$i"
		check_send "p$i" hub "10.0.0.$i"
	done
	check_send p2 hub "$addr"
	check_binding K2 1 true
}

route_first()
{
	family "$1"
	new_key 4
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[4]}"
	check_binding K4 1 false
	check_send ENOKEY hub "$addr"
	check_send "$unreachable" lan "$addr"
	# WireGuard's own error for a peer without an endpoint
	check in_hub wg set hub peer "${KEY[4]}"
	check_binding K4 1 true
	check_send EDESTADDRREQ hub "$addr"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[4]}"
	check in_hub wg set hub peer "${KEY[4]}" remove
}

# The AllowedIPs of a peer that a route names are none of its business.
no_allowedips()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips ""
	count_from_now
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1
	check add_peer 2
}

# never_to_another COUNTER: what is for peer 2, which is not there, reaches nobody, although
# peer 3 has all addresses in its AllowedIPs and peer 1 those of the route; COUNTER moves
# with each packet.
never_to_another()
{
	count_from_now
	check_send ENOKEY hub "$addr"
	check_send "$unreachable" lan "$addr"
	packets again s
	check_eq "sent by a connected socket without the peer" ENOKEY "$REPLY"
	check_forge ENOKEY hub hub "$hub_addr" "$addr"
	check_counters "$1=4"
}

# removed_beside_default FAMILY MODE KEY|GATEWAY
removed_beside_default()
{
	local counter=tx-drop-wgpeer way=(via-wgpeer "${KEY[2]}")

	family "$1"
	set_mode "$2"
	if [[ $3 == gateway ]]; then
		counter=tx-drop-gateway way=(via "$gateway")
	fi
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+0.0.0.0/0,+::/0"
	check ip_hub route add "$prefix" dev hub "${way[@]}"
	packets open s hub "$addr" src="$hub_addr"
	packets again s
	check_eq "sent before" p2 "$REPLY"
	check remove_peer 2
	never_to_another "$counter"
	# And nobody else may send from there.
	count_from_now
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters rx-drop-peer=2
	# Nor when the peers are set anew without it
	in_hub wg showconf hub >"$TMP/conf"
	check in_hub wg syncconf hub "$TMP/conf"
	never_to_another "$counter"
	check in_hub wg setconf hub "$TMP/conf"
	never_to_another "$counter"
	# A peer without an endpoint is there, and gets no packets.
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips "$(allowed_ips 2)"
	check_send EDESTADDRREQ hub "$addr"
	check add_peer 2
	check_send p2 hub "$addr"
	packets again s
	check_eq "sent when the peer is back" p2 "$REPLY"
	packets close s
	add_peer 1
	add_peer 3
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

warnings()
{
	local absent

	family "$1"
	absent=$(wg genkey | wg pubkey)
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix3" dev hub via-wgpeer "$absent"
	check ip_hub route del "$prefix3" dev hub via-wgpeer "$absent"
	check_warns "$NO_PEER_YET" ip_hub route replace "$prefix" dev hub via-wgpeer "$absent"
	set_mode on
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix3" dev hub via-wgpeer "$absent"
	check ip_hub route del "$prefix3" dev hub
}

for f in 4 6; do
	test_add "IPv$f: a peer is removed and added again" removed_and_added $f
	test_add "IPv$f: again and again" again_and_again $f
	test_add "IPv$f: wg setconf replaces the peers" setconf $f
	test_add "IPv$f: the device takes the peer's key" own_key $f
	test_add "IPv$f: the route is there before the peer" route_first $f
	test_add "IPv$f: a peer without AllowedIPs" no_allowedips $f
	for mode in auto on; do
		test_add "IPv$f: $mode: what is for a removed peer reaches nobody else" \
			removed_beside_default $f $mode key
	done
	test_add "IPv$f: on: what is for a removed gateway reaches nobody else" \
		removed_beside_default $f on gateway
	test_add "IPv$f: warnings" warnings $f
done

setup_hub 3 lan
set_mode $MODE
tests_run
