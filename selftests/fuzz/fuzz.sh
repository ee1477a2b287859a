#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fuzz.sh [MESSAGES [SEED [KEPT]]]: netlink messages in rounds, each with a new device,
# then a tenth as many packets into the hub's device and into a peer's; see fuzz.c and
# fuzz_packets.c. Every run has another seed, and prints it.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

messages=${1:-10000} seed=${2:-$SRANDOM} kept=${3:-}
packets=$((messages / 10))
ROUND=20000

# compile PROGRAM PART...: from the files of these names
compile()
{
	local files=("${@/%/.c}")

	gcc-14 -O1 -Wall -Wextra -Werror -idirafter "$selftests/../include/uapi" -o "$TMP/$1" \
		"${files[@]/#/$selftests/fuzz/}" || exit "$KSFT_FAIL"
}

# Not by ip netns exec, which mounts another /sys: KCOV is there.
fuzz_in() { nsenter --net="/run/netns/$1" "$TMP/$2" "${@:3}"; }

# Keys that the messages of fuzz.c name
key() { head -c 32 /dev/zero | tr '\0' "\\$1" | base64; }

# drop_one: a device of the scratch namespace that has dropped a packet, and that no message is to
# change: a dump of peers has one to say, and its drops, whatever becomes of the others. The peer
# sends from the address of the device.
drop_one()
{
	ip -n "$scratch" -batch - <<-END
		link add quiet index 12 type wireguard
		link add peer type wireguard
	END
	in_ns "$scratch" wg set quiet listen-port 51821 private-key /dev/stdin peer "${KEY[1]}" \
		<<<"${PRIVATE[0]}"
	in_ns "$scratch" wg set peer private-key /dev/stdin peer "${KEY[0]}" \
		endpoint 127.0.0.1:51821 allowed-ips 0.0.0.0/0 <<<"${PRIVATE[1]}"
	check in_ns "$scratch" wgvia set quiet mode on
	ip -n "$scratch" -batch - <<-END
		link set quiet up
		address add 192.0.2.1/32 dev quiet
		link set peer netns $far
	END
	ip -n "$far" -batch - <<-END
		link set peer up
		address add 192.0.2.1/24 dev peer
	END
	in_ns "$far" ping -c 1 -W 0.1 192.0.2.2 >/dev/null
	busywait has_dropped || fail "no packet was dropped"
}

has_dropped() { in_ns "$scratch" wgvia show quiet peers | grep -q rx_drop_own; }

netlink()
{
	local round=0 left=$messages

	while ((left > 0)); do
		ip -n "$scratch" -batch - <<-END || fail "no devices"
			link add hub index 10 type wireguard
			link add other index 11 type dummy
			link set hub up
			link set other up
			address add 10.0.0.254/24 dev hub
			address add fd00::fe/64 dev hub
		END
		ip netns exec "$scratch" wg set hub peer "$(key 1)" allowed-ips 10.0.0.1/32 \
			peer "$(key 2)" allowed-ips 10.0.0.2/32
		drop_one
		fuzz_in "$scratch" fuzz $((left < ROUND ? left : ROUND)) $((seed + round)) \
			hub other "$selftests/fuzz/corpus" ${kept:+"$kept"} >"$TMP/round" ||
			fail "round $round: exit status $?"
		# shellcheck disable=SC2016 # fields of awk
		awk '/^# corpus:/ { good = $3 && $3 == $5 } END { exit !good }' "$TMP/round" ||
			fail "not all messages of the corpus succeed:" "$(grep corpus "$TMP/round")"
		cat "$TMP/round" >>"$TMP/figures"
		# Its routes go with it. What is on no device, or on lo, is not to meet the next round.
		ip -n "$scratch" link del hub
		ip -n "$far" link del peer
		ip netns del "$scratch"
		setup_ns scratch
		left=$((left - ROUND)) round=$((round + 1))
		((left <= 0)) || echo "# $left messages left after $SECONDS s"
	done
	awk '/sent,/ { sent[$2] += $3; good[$2] += $5; all += $3; done += $5 }
	     END { for (k in sent) print "#", k, sent[k], "sent,", good[k], "succeeded"
		   print "# netlink messages:", all ",", done, "succeeded"
		   for (k in sent) if (!good[k] != (k == "other:")) exit 1 }' "$TMP/figures" ||
		fail "messages of a kind that never succeeds test nothing"
	grep '^# co' "$TMP/figures" | tail -n 2
	[[ ! -e /sys/kernel/debug/kcov ]] || grep -q '^# coverage' "$TMP/figures" ||
		fail "there is KCOV, and it was not used"
}

# counted REGEX: the sum of these counters of the hub's device
counted() { show "[.counters | to_entries[] | select(.key | test(\"^($1)\$\")) | .value] | add"; }

# fuzz_packets NAMESPACE DEVICE COUNT SEED COUNTER: the device has to take half of them, and
# the hub's to count that one in twenty went the way that COUNTER, a regular expression, says
fuzz_packets()
{
	local before out share=$(($3 / 20))

	before=$(counted "$5")
	out=$(fuzz_in "$1" fuzz_packets "$3" "$4" "$2") || fail "exit status $?"
	echo "$out"
	# shellcheck disable=SC2016 # fields of awk
	awk '/sent,/ { exit !($7 > $5 / 2) }' <<<"$out" || fail "the device took too few: $out"
	busywait counted_more "$5" $((before + share)) ||
		fail "$(($(counted "$5") - before)) packets moved the counters $5, $share should"
}

counted_more() { (($(counted "$1") >= $2)); }

test_reset()
{
	reset_hub
	ip_hub rule flush proto boot
	ip_hub -6 rule flush proto boot
}

# Peer 2, but what only a look into the packet tells from the rest goes to a gateway.
routes_by_ports()
{
	local f

	check_ok ip_hub route replace 10.0.0.0/8 dev hub via-wgpeer "${KEY[2]}"
	check_ok ip_hub route replace fd00::/8 dev hub via-wgpeer "${KEY[2]}"
	for f in -4 -6; do
		check_ok ip_hub "$f" rule add pref 100 ipproto udp dport 1-2000 table 100 proto boot
		check_ok ip_hub "$f" rule add pref 101 ipproto udp sport 256-4000 table 100 proto boot
		check_ok ip_hub "$f" rule add pref 102 ipproto tcp dport 1-60000 table 100 proto boot
		check_ok ip_hub "$f" rule add pref 103 ipproto ipv6-icmp table 100 proto boot
	done
	check_ok ip_hub route add 10.0.0.0/8 via 10.0.0.1 dev hub table 100
	check_ok ip_hub route add fd00::/8 via fd00::1 dev hub table 100
}

into_hub()
{
	check_ok ip_hub route replace 10.0.0.0/8 dev hub via-wgpeer "${KEY[2]}"
	check_ok ip_hub route replace fd00::/8 dev hub via-wgpeer "${KEY[2]}"
	check_ok ip_hub route replace 10.3.0.0/16 via 10.0.0.1 dev hub
	fuzz_packets "$hub" hub "$packets" "$seed" tx_wgpeer
	check_send p2 hub 10.2.0.1
}

into_hub_by_ports()
{
	routes_by_ports
	fuzz_packets "$hub" hub "$packets" $((seed + 2)) tx_gateway
	check_send p2 hub 10.2.0.1
}

check_ok() { "$@" >/dev/null 2>&1 || fail "$*"; }

into_peer()
{
	local filter counters=rx_wgpeer

	routes_by_ports
	for filter in device strict loose none; do
		[[ $filter != none ]] || counters=rx_unfiltered
		set_filter "$filter"
		fuzz_packets "$p2" wg0 $((packets / 4)) "$((seed + 1))" "$counters"
	done
	set_filter device
	check_send p2 hub 10.0.0.2
}

all_goes()
{
	ip netns del "$scratch"
	busywait module_idle || fail "the module is referred to: $(cat /sys/module/wgvia/refcnt)"
}

MODE=on
echo "# seed: $seed"
compile fuzz make kind corpus coverage message
compile fuzz_packets message
setup_hub 3
setup_ns scratch far
set_mode $MODE

test_add "netlink messages" netlink
test_add "packets into the hub's device" into_hub
test_add "packets into the hub's device, where ports decide" into_hub_by_ports
test_add "packets into a peer's device" into_peer
test_add "nothing refers to the module afterwards" all_goes

tests_run
