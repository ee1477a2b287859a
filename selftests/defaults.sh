#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Settings with which devices begin: of each network namespace its own, and from a file.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

BUILT_IN='["auto","device",false]'

# settings NAME: of a device, or default
settings() { in_hub wgvia show -j "$1" | jq -c '.[0] | [.mode, .filter, .multicast]'; }

# check_new EXPECTED: the settings of a device that is made now
check_new()
{
	check ip_hub link add new type wireguard
	check_eq "settings of a new device" "$1" "$(settings new)"
	check ip_hub link del new
}

new_devices()
{
	check_eq "defaults at first" "$BUILT_IN" "$(settings default)"
	check_new "$BUILT_IN"
	check in_hub wgvia set default mode on multicast on
	check_eq "defaults" '["on","device",true]' "$(settings default)"
	check_eq "for people" "default: mode on, filter device, multicast on" "$(in_hub wgvia show default)"
	check_new '["on","device",true]'
	check in_hub wgvia set default filter loose
	check_new '["on","loose",true]'
	check_eq "settings of a device that was there" "$BUILT_IN" "$(settings hub)"
	check in_hub wgvia set hub filter strict
	check_eq "defaults when a device is set" '["on","loose",true]' "$(settings default)"
	check in_hub wgvia set hub filter device
}

# The flag of the settings is there from the start, and told once.
flag()
{
	local events

	check in_hub wgvia set default multicast on
	nsenter --net="/run/netns/$hub" ip monitor link >"$TMP/events" 2>&1 &
	events=$!
	busywait listens_to_groups "$events" || fail "ip monitor does not listen"
	check ip_hub link add new type wireguard
	busywait grep -q new "$TMP/events" || fail "no event"
	check ip_hub link del new
	busywait grep -q Deleted "$TMP/events" || fail "no event of the deletion"
	kill "$events"
	wait "$events" 2>/dev/null
	check_eq "events of the new device, and its flag" 1 "$(grep new "$TMP/events" | grep -v Deleted | grep -c MULTICAST)"
	check_eq "events of the new device" 1 "$(grep new "$TMP/events" | grep -vc Deleted)"
}

# The default is in force: a device that begins with mode off takes no keyed route, one with mode
# on has its gateways looked at.
obeyed()
{
	check in_hub wgvia set default mode off
	check ip_hub link add new type wireguard
	check ip_hub link set new up
	check_fails "$MODE_OFF" ip_hub route add 10.9.0.0/16 dev new via-wgpeer "${KEY[1]}"
	check ip_hub link del new
	check in_hub wgvia set default mode auto
	check ip_hub link add new type wireguard
	check in_hub wg set new peer "${KEY[1]}"
	check ip_hub link set new up
	check ip_hub route add 10.9.0.0/16 dev new via-wgpeer "${KEY[1]}"
	check ip_hub link del new
}

# Of this namespace alone. A device that moves keeps what it has.
namespaces()
{
	check in_hub wgvia set default mode on filter none
	check_eq "defaults elsewhere" "$BUILT_IN" "$(in_ns "$other" wgvia show -j default | jq -c '.[0] | [.mode, .filter, .multicast]')"
	check ip -n "$other" link add new type wireguard
	check_eq "new device elsewhere" "$BUILT_IN" "$(in_ns "$other" wgvia show -j new | jq -c '.[0] | [.mode, .filter, .multicast]')"
	check ip -n "$other" link set new netns "$hub"
	check_eq "that device here" "$BUILT_IN" "$(settings new)"
	check ip_hub link del new
	check ip -n "$other" link add new netns "$hub" type wireguard
	check_eq "device made for here" '["on","none",false]' "$(settings new)"
	check ip_hub link del new
}

# load STATUS TEXT: the file $TMP/wgvia.conf, from standard input
load()
{
	local out

	cat >"$TMP/wgvia.conf"
	out=$(in_hub wgvia load "$TMP/wgvia.conf" 2>&1)
	check_eq "exit status" "$1" $?
	check_eq "what it says" "$2" "${out//$TMP\/}"
}

file()
{
	load 0 "" <<-END
		# All devices
		set default mode on multicast on

		set hub filter loose	# this one
	END
	check_eq "defaults" '["on","device",true]' "$(settings default)"
	check_eq "settings of the device" '["auto","loose",false]' "$(settings hub)"
	load 1 "wgvia: wgvia.conf:1: none: no such device (list WireGuard devices with: ip link show type wireguard)
wgvia: wgvia.conf:2: mode is off|auto|on, not 'yes'
wgvia: wgvia.conf:3: a line is: set DEV|default SETTING...
wgvia: wgvia.conf: lines that failed: 3" <<-END
		set none mode on
		set default mode yes
		mode on
		set default filter none
	END
	check_eq "defaults" '["on","none",true]' "$(settings default)"
	printf 'mode on\nset default filter strict\n' >"$TMP/wgvia.conf"
	in_hub wgvia load "$TMP/wgvia.conf" 2>/dev/full
	check_eq "exit status, with nothing to write to" 1 $?
	check_eq "defaults" '["on","strict",true]' "$(settings default)"
	# Bytes that are not UTF-8, in a comment and elsewhere
	load 1 "wgvia: wgvia.conf:2: the line is not UTF-8: only a comment may have other bytes
wgvia: wgvia.conf: lines that failed: 1" < <(
		printf 'set default mode auto # caf\xe9\nset hub\xe9 mode on\nset default filter loose\n')
	check_eq "defaults" '["auto","loose",true]' "$(settings default)"
	check_fails "wgvia: none: No such file or directory (os error 2)" in_hub wgvia load none
}

# wg-quick makes its device again, and nobody has to set anything.
wg_quick()
{
	local round

	cat >"$TMP/quick.conf" <<-END
		[Interface]
		PrivateKey = ${PRIVATE[0]}
		Table = off
		[Peer]
		PublicKey = ${KEY[1]}
		AllowedIPs = 10.7.0.1/32
	END
	chmod 600 "$TMP/quick.conf"
	check in_hub wgvia set default mode on filter loose multicast on
	for round in once again; do
		in_hub wg-quick up "$TMP/quick.conf" >"$TMP/log" 2>&1 || fail "wg-quick up: $(<"$TMP/log")"
		check_eq "settings, $round" '["on","loose",true]' "$(settings quick)"
		in_hub wg-quick down "$TMP/quick.conf" >"$TMP/log" 2>&1 || fail "wg-quick down: $(<"$TMP/log")"
	done
}

test_reset()
{
	ip_hub link del new 2>/dev/null
	ip_hub link del quick 2>/dev/null
	check in_hub wgvia set default mode auto filter device multicast off
	check in_hub wgvia set hub mode auto filter device multicast off
}

setup_ns hub other
for i in 0 1; do new_key $i; done
ip_hub link add hub type wireguard || bail_out "no WireGuard device"

test_add "new devices begin with them" new_devices
test_add "the flag of multicast is told with the device" flag
test_add "they are obeyed" obeyed
test_add "each namespace has its own" namespaces
test_add "a file of settings" file
test_add "wg-quick makes a device again" wg_quick

tests_run
