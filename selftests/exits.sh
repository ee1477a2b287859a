#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Several exits: peers that have a default route each, which rules choose by the mark,
# the user, the incoming device or the source, beside a site with a prefix of its own.
# Replies pass under the default filter, with and without masquerade, and nobody can use
# what is another's. Nothing is set but rules and routes.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

test_reset()
{
	reset_hub
	flush_rules
	set_mode auto
	in_hub nft flush ruleset
	in_hub conntrack -F 2>/dev/null
}

# exits FAMILY MODE: tables 101 and 102 lead to peers 1 and 2, and so to nobodys, which both
# have; the site is peer 3's, and what no rule says goes elsewhere.
exits()
{
	family "$1"
	set_mode "$2"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[1]}" table 101
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" table 102
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub "-$f" route add default dev elsewhere
}

masquerade()
{
	in_hub nft -f - <<-END || fail "no masquerade"
		table inet exits {
			chain postrouting {
				type nat hook postrouting priority 100
				oifname "hub" masquerade
			}
		}
	END
}

# check_exit PEER NAME COMMAND...: a ping in the namespace is answered, and was asked there
check_exit()
{
	local peer=$1 name=$2 before out
	shift 2

	before=$(echos "p$peer" "$f")
	out=$(in_ns "${!name}" "$@" -n -c 1 -W $((5 * SLOW)) "$nobodys" 2>&1) ||
		fail "in $name, $*: no answer from $nobodys: $out"
	check_eq "echo requests that reach p$peer, of: $*" 1 $(($(echos "p$peer" "$f") - before))
}

# check_nobody_else DST: who may send to this address from that of an exit, and who from
# that of the site
check_nobody_else()
{
	local dst=$1

	count_from_now
	check_forge dropped p3 wg0 "$nobodys" "$dst"
	check_forge dropped p1 wg0 "$site_addr" "$dst"
	check_forge dropped p2 wg0 "$site_addr" "$dst"
	check_counters rx-drop-peer=3
	check_exit_source "$dst"
}

# An exit sends from what it leads to, whichever the rules would choose, and the site from
# its own.
check_exit_source()
{
	count_from_now
	check_forge hub p1 wg0 "$nobodys" "$hub_addr"
	check_forge hub p2 wg0 "$nobodys" "$hub_addr"
	check_forge hub p3 wg0 "$site_addr" "$hub_addr"
	check_counters rx-wgpeer=3
}

by_mark()
{
	exits "$1" "$2"
	check rule add fwmark 1 table 101 pref 100
	check rule add fwmark 2 table 102 pref 101
	count_from_now
	check_exit 1 hub ping -m 1 -I "$hub_addr"
	check_exit 2 hub ping -m 2 -I "$hub_addr"
	check_ping -I "$hub_addr" "$site_addr"
	check_counters tx-wgpeer=3 rx-wgpeer=3
	check_nobody_else "$hub_addr"
}

by_user()
{
	local user=(setpriv --inh-caps +net_raw --ambient-caps +net_raw)

	exits "$1" "$2"
	check rule add uidrange 4701-4701 table 101 pref 100
	check rule add uidrange 4702-4702 table 102 pref 101
	count_from_now
	check_exit 1 hub "${user[@]}" --reuid 4701 ping -I "$hub_addr"
	check_exit 2 hub "${user[@]}" --reuid 4702 ping -I "$hub_addr"
	check_ping -I "$hub_addr" "$site_addr"
	check_counters tx-wgpeer=3 rx-wgpeer=3
	check_nobody_else "$hub_addr"
}

# by_device FAMILY MODE [masquerade]: what lan sends takes exit 2, what the hub does exit 1.
by_device()
{
	exits "$1" "$2"
	[[ $# == 2 ]] || masquerade
	check rule add iif lan table 102 pref 100
	check rule add fwmark 1 table 101 pref 101
	count_from_now
	check_exit 2 lan ping
	check_exit 1 hub ping -m 1 -I "$hub_addr"
	check_counters tx-wgpeer=2 rx-wgpeer=2
	# Rules say that lan sends the site's there too, except for this one.
	check rule add to "$site" table main pref 90
	check_ping_from lan "$lan_addr" "$site_addr" p3
	check_nobody_else "$lan_addr"
}

# by_source FAMILY MODE [masquerade]
by_source()
{
	exits "$1" "$2"
	[[ $# == 2 ]] || masquerade
	check rule add from "$hub_addr" table 101 pref 100
	check rule add from "$lan_addr" table 102 pref 101
	check rule add to "$site" table main pref 90
	count_from_now
	check_exit 1 hub ping -I "$hub_addr"
	check_exit 2 lan ping
	check_ping_from lan "$lan_addr" "$site_addr" p3
	check_counters tx-wgpeer=3 rx-wgpeer=3
	check_nobody_else "$lan_addr"
}

# An exit is chosen by the DSCP, which the exit writes into its packets as well as anybody.
by_dscp()
{
	exits "$1" "$2"
	check rule add dscp 4 table 101 pref 100
	check rule add dscp 8 table 102 pref 101
	count_from_now
	check_exit 1 hub ping -Q 0x10 -I "$hub_addr"
	check_exit 2 hub ping -Q 0x20 -I "$hub_addr"
	check_counters tx-wgpeer=2 rx-wgpeer=2
	count_from_now
	check_forge dropped p1 wg0 "$site_addr" "$hub_addr" tos=0x10
	check_forge dropped p2 wg0 "$site_addr" "$hub_addr" tos=0x20
	check_forge dropped p3 wg0 "$nobodys" "$hub_addr" tos=0x20
	check_counters rx-drop-peer=3
	check_nobody_else "$hub_addr"
}

# The exit goes away: nothing that is its takes another, whatever rule comes after.
exit_removed()
{
	exits "$1" "$2"
	check rule add fwmark 1 table 101 pref 100
	# Packets of WireGuard itself go by main.
	check rule add table main suppress_prefixlength 0 pref 101
	check rule add table 102 pref 102
	check_exit 1 hub ping -m 1 -I "$hub_addr"
	check remove_peer 1
	count_from_now
	check_send ENOKEY hub "$nobodys" mark=1
	check_counters tx-drop-wgpeer=1
	check_exit 2 hub ping -I "$hub_addr"
	check add_peer 1
	check_exit 1 hub ping -m 1 -I "$hub_addr"
}

for f in 4 6; do
	for mode in auto on; do
		test_add "IPv$f: $mode: exits by the mark" by_mark $f $mode
		test_add "IPv$f: $mode: exits by the user" by_user $f $mode
		test_add "IPv$f: $mode: exits by the incoming device" by_device $f $mode
		test_add "IPv$f: $mode: exits by the incoming device, masquerade" by_device $f $mode masquerade
		test_add "IPv$f: $mode: exits by the source" by_source $f $mode
		test_add "IPv$f: $mode: exits by the source, masquerade" by_source $f $mode masquerade
		test_add "IPv$f: $mode: exits by the DSCP" by_dscp $f $mode
		test_add "IPv$f: $mode: an exit is removed" exit_removed $f $mode
	done
done

# Not everything to peer 1: only what routes say goes anywhere.
allowed_ips() { echo "10.0.0.$1/32,fd00::$1/128,fe80::$1/128"; }

setup_hub 3 lan
check ip_hub link add elsewhere type dummy
check ip_hub link set elsewhere up
for i in 1 2; do
	ns=p$i
	ip -n "${!ns}" -batch - <<-END
		route add local 198.51.100.0/24 dev lo
		route add local 2001:db8:2::/48 dev lo
	END
done
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
tests_run
