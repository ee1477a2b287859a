#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tunnels over the device, with bridges and MACsec on them, another WireGuard, and flow tables: each
# keeps a dst of its own for many packets, and follows the routes all the same.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=on

mac() { printf '02:00:00:00:00:%02x' "$1"; }

# The words for a tunnel between two addresses
tunnel()
{
	case $1$f in
	gretap4) echo "type gretap local $2 remote $3" ;;
	gretap6) echo "type ip6gretap local $2 remote $3" ;;
	vxlan*) echo "type vxlan id 5 dstport 4789 local $2 remote $3" ;;
	esac
}

# tunnel_start KIND: with a bridge on it in the hub. Peers 2 and 3 are at the other end with the
# same address, so that the route alone says which of them it is. Inside, each has its own.
tunnel_start()
{
	local i ns

	# shellcheck disable=SC2046 # words
	check ip_hub link add tunnel address "$(mac 254)" $(tunnel "$1" "$hub_addr" "$site_addr")
	ip_hub -batch - <<-END
		link add bridge type bridge
		link set tunnel master bridge
		link set tunnel up
		link set bridge up
		address add 172.16.0.254/24 dev bridge
	END
	for i in 2 3; do
		ns=p$i
		ip -n "${!ns}" address add "$site_addr/$bits" dev lo
		# shellcheck disable=SC2046 # words
		check ip -n "${!ns}" link add tunnel address "$(mac "$i")" \
			$(tunnel "$1" "$site_addr" "$hub_addr")
		ip -n "${!ns}" -batch - <<-END
			link set tunnel up
			address add 172.16.0.$i/24 dev tunnel
		END
	done
}

tunnel_stop()
{
	local i ns

	check ip_hub link del tunnel
	check ip_hub link del bridge
	for i in 2 3; do
		ns=p$i
		check ip -n "${!ns}" link del tunnel
		ip -n "${!ns}" address del "$site_addr/$bits" dev lo
	done
}

# check_answer NET PEER: it answers inside of the tunnel; the other one is not asked.
check_answer()
{
	local before2 before3 want2=1 want3=0

	[[ $2 == 2 ]] || want2=0 want3=1
	before2=$(echos p2 4) before3=$(echos p3 4)
	check_ping "$1.$2"
	check_eq "echo requests for $1.$2 that reach p2 and p3" "$want2 $want3" \
		"$(($(echos p2 4) - before2)) $(($(echos p3 4) - before3))"
}

# follows NET: the tunnel that carries this network goes where the route says
follows()
{
	count_from_now
	check_answer "$1" 2
	check ip_hub route replace "$site" dev hub via-wgpeer "${KEY[3]}"
	check_answer "$1" 3
	check_eq "packets sent by another way" 0 \
		"$(($(other_ways) - $(jq '.[0]'"$OTHER_WAYS" <<<"$COUNTED")))"
	check ip_hub route replace "$site" dev hub via-wgpeer "${KEY[2]}"
	check_answer "$1" 2
}

OTHER_WAYS='| [.counters | to_entries[] | select((.key | startswith("tx")) and .key != "tx_wgpeer").value] | add'
other_ways() { in_hub wgvia show -j hub | jq ".[0]$OTHER_WAYS"; }

bridge()
{
	family "$2"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	tunnel_start "$1"
	follows 172.16.0
	tunnel_stop
}

# macsec_start N OTHER...: a device with keys for itself and for others
macsec_start()
{
	local n=$1 other ip=(ip)
	shift

	local ns=p$n
	[[ $n == 254 ]] && ns=hub
	ip+=(-n "${!ns}")
	check "${ip[@]}" link add link tunnel name macsec type macsec port 1 encrypt on
	check "${ip[@]}" macsec add macsec tx sa 0 pn 1 on key 00 "$(printf '%032x' "$n")"
	for other in "$@"; do
		check "${ip[@]}" macsec add macsec rx port 1 address "$(mac "$other")"
		check "${ip[@]}" macsec add macsec rx port 1 address "$(mac "$other")" \
			sa 0 pn 1 on key 00 "$(printf '%032x' "$other")"
	done
	check "${ip[@]}" link set macsec up
	check "${ip[@]}" address add "172.17.0.$n/24" dev macsec
}

macsec()
{
	family "$1"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	tunnel_start gretap
	check ip_hub link set tunnel nomaster
	macsec_start 254 2 3
	macsec_start 2 254
	macsec_start 3 254
	follows 172.17.0
	tunnel_stop
}

# udp_without_socket NAME: datagrams that came for no socket
udp_without_socket()
{
	local counter=UdpNoPorts

	[[ $f == 4 ]] || counter=Udp6NoPorts
	# shellcheck disable=SC2016 # fields of awk
	in_ns "${!1}" nstat -asz "$counter" | awk '!/^#/ { print $2 }'
}

more_without_socket() { [[ $(udp_without_socket "$1") -gt $2 ]]; }

# WireGuard in WireGuard: the outer device is the way to the endpoint of the inner one,
# which keeps its dst. A session is with one peer: the other end is peer 2 alone, and
# peer 3 has its address without a socket.
wireguard_inside()
{
	local inner before2 before3

	family "$1"
	inner=$(wg genkey)
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[2]}"
	check in_peer 2 ip address add "$site_addr/$bits" dev lo
	check in_peer 3 ip address add "$site_addr/$bits" dev lo
	check ip -n "$p2" link add inner type wireguard
	check ip_hub link add inner type wireguard
	in_peer 2 wg set inner listen-port 51900 private-key /dev/stdin peer "${KEY[0]}" \
		allowed-ips 172.16.0.254/32 <<<"$inner"
	in_hub wg set inner private-key /dev/stdin peer "$(wg pubkey <<<"$inner")" \
		endpoint "$(url "$site_addr"):51900" allowed-ips 172.16.0.0/24 <<<"${PRIVATE[0]}"
	ip_hub -batch - <<-END
		link set inner up
		address add 172.16.0.254/24 dev inner
	END
	ip -n "$p2" -batch - <<-END
		link set inner up
		address add 172.16.0.2/24 dev inner
	END

	count_from_now
	before2=$(echos p2 4) before3=$(udp_without_socket p3)
	check_ping 172.16.0.2
	check ip_hub route replace "$site" dev hub via-wgpeer "${KEY[3]}"
	# Nobody waits for the answer that it does not get.
	in_hub ping -n -q -c 1 -W 0.01 172.16.0.2 >/dev/null && fail "an answer by the wrong peer"
	busywait more_without_socket p3 "$before3" || fail "nothing goes to peer 3"
	check ip_hub route replace "$site" dev hub via-wgpeer "${KEY[2]}"
	check_ping 172.16.0.2
	check_eq "echo requests that reach p2" 2 "$(($(echos p2 4) - before2))"
	check_eq "packets sent by another way" 0 \
		"$(($(other_ways) - $(jq '.[0]'"$OTHER_WAYS" <<<"$COUNTED")))"

	check ip_hub link del inner
	check ip -n "$p2" link del inner
	check in_peer 2 ip address del "$site_addr/$bits" dev lo
	check in_peer 3 ip address del "$site_addr/$bits" dev lo
}

offloaded()
{
	[[ $(in_hub conntrack -L -f "ipv$f" -p tcp --dport 5202 2>/dev/null) == *OFFLOAD* ]]
}

# The packets of a forwarded connection go from device to device past the FIB.
flow_table()
{
	family "$1"
	cat >"$TMP/nft" <<-END
		table inet flows {
			flowtable fast {
				hook ingress priority 0
				devices = { lan, hub }
			}
			chain forward {
				type filter hook forward priority 0
				tcp dport 5202 ct state established flow add @fast
			}
		}
	END
	check in_hub nft -f "$TMP/nft"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check in_peer 2 ip address add "$addr/$bits" dev lo
	talk_start lan "$(url "$addr")"
	tell one
	busywait answered one || fail "no answer before the change"
	busywait offloaded || fail "the connection is not in the flow table"
	count_from_now
	tell two
	busywait answered two || fail "no answer through the flow table"
	offloaded || fail "the connection has left the flow table"
	[[ $(show .counters.tx_wgpeer) -gt $(jq '.[0].counters.tx_wgpeer' <<<"$COUNTED") ]] ||
		fail "packets of the flow table are not counted"

	check_talk_follows "$prefix" three
	talk_end
	check in_peer 2 ip address del "$addr/$bits" dev lo
	check in_hub nft delete table inet flows
}

for f in 4 6; do
	test_add "IPv$f: a bridge on GRE follows the route" bridge gretap $f
	test_add "IPv$f: a bridge on VXLAN follows the route" bridge vxlan $f
	test_add "IPv$f: MACsec on GRE follows the route" macsec $f
	test_add "IPv$f: WireGuard in WireGuard follows the route" wireguard_inside $f
	test_add "IPv$f: a flow table follows the route" flow_table $f
done

setup_hub 3 lan
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
set_mode $MODE
tests_run
