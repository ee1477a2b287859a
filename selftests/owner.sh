#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A network namespace that another user than root owns: what is looked up for nobody in
# particular is looked up for the owner, whom rules can tell from root. (The filters
# "device" and "loose" ask all tables, whomever a rule is for.)

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on
OWNER=65534

runs() { [[ $(cat "/proc/$1/comm") == "$2" ]]; }

# The hub's namespace belongs to a user namespace of the owner's. There the owner is
# user 0, and root is user 1. (A map wants to be written at once, which echo does not.)
add_ns()
{
	if [[ $1 != "$hub" ]]; then
		ip netns add "$1"
		return
	fi
	setpriv --reuid=$OWNER --regid=$OWNER --clear-groups --inh-caps=-all \
		unshare --user --net sleep infinity >/dev/null 2>&1 &
	IN_HUB=$!
	busywait runs "$IN_HUB" sleep &&
		cat <<<"0 $OWNER 1"$'\n'"1 0 1" >"/proc/$IN_HUB/uid_map" &&
		echo "0 $OWNER 1" >"/proc/$IN_HUB/gid_map" &&
		ip netns attach "$1" "$IN_HUB"
}

cleanup_file()
{
	kill "$IN_HUB"
	wait "$IN_HUB" 2>/dev/null
}

# ip of the owner's: nobody else can name users in rules of this namespace
ip_owner() { nsenter --target "$IN_HUB" --user --net ip "$@"; }

test_reset()
{
	reset_hub
	ip_owner rule flush proto boot
	ip_owner -6 rule flush proto boot
	set_filter device
}

# for_user USER COMMAND...: while there is a rule for the owner (0) or for root (1)
for_user()
{
	local rule=(uidrange "$1-$1" table 100 pref 100 proto boot)
	shift

	check ip_owner "-$f" rule add "${rule[@]}"
	"$@"
	check ip_owner "-$f" rule del "${rule[@]}"
}

filter()
{
	family "$2"
	set_filter "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	case $1 in
	strict)
		for_user 0 check_source "$addr" rx-wgpeer p3
		for_user 1 check_source "$addr" rx-wgpeer p2 ;;
	device)
		for_user 0 check_source "$addr" rx-wgpeer p2,p3
		for_user 1 check_source "$addr" rx-wgpeer p2,p3
		check_source "$addr" rx-wgpeer p2 ;;
	esac
}

# Whose socket it is.
packet_socket()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	for_user 1 check_forge p3 hub hub "$hub_addr" "$addr"
	for_user 0 check_forge p2 hub hub "$hub_addr" "$addr"
	for_user 0 check_forge p3 hub hub "$hub_addr" "$addr" uid="$OWNER"
	for_user 1 check_forge p2 hub hub "$hub_addr" "$addr" uid="$OWNER"
}

# It is still root's, whose socket in the namespace lan has sent it.
redirected()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check in_hub tc qdisc add dev lan clsact
	check in_hub tc filter add dev lan ingress matchall action mirred egress redirect dev hub
	count_from_now
	for_user 1 check_forge p3 lan hub "$lan_addr" "$addr"
	for_user 0 check_forge p2 lan hub "$lan_addr" "$addr"
	check_counters tx-wgpeer=2
	check in_hub tc qdisc del dev lan clsact
}

for f in 4 6; do
	test_add "IPv$f: filter device: rules for users" filter device $f
	test_add "IPv$f: filter strict: rules for users" filter strict $f
	test_add "IPv$f: packet socket: rules for users" packet_socket $f
	test_add "IPv$f: a redirected packet: rules for users" redirected $f
done

setup_hub 3 lan
set_mode $MODE
tests_run
