#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A network namespace that another user than root owns: what is looked up for nobody in
# particular is looked up for the owner, whom rules can tell from root.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on
OWNER=65534

family()
{
	f=$1
	if [[ $1 == 4 ]]; then
		hub_addr=10.0.0.254 prefix=10.2.0.0/16 addr=10.2.0.1 gateway=10.0.0.2
	else
		hub_addr=fd00::fe prefix=fd02::/48 addr=fd02::1 gateway=fd00::2
	fi
}

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
	for_user 0 check_source "$addr" rx-wgpeer p3
	for_user 1 check_source "$addr" rx-wgpeer p2
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

# The packet itself is root's.
gateway()
{
	family "$1"
	check ip_hub route add "$prefix" via "$gateway" dev hub
	check ip_hub "-$f" route add "$gateway" dev hub via-wgpeer "${KEY[3]}" table 100
	count_from_now
	for_user 0 check_send p3 hub "$addr"
	check_counters tx-gateway-wgpeer=1
	count_from_now
	for_user 1 check_send p2 hub "$addr"
	check_counters tx-gateway-allowedips=1
}

for f in 4 6; do
	test_add "IPv$f: filter device: rules for users" filter device $f
	test_add "IPv$f: filter strict: rules for users" filter strict $f
	test_add "IPv$f: packet socket: rules for users" packet_socket $f
	test_add "IPv$f: the route to a gateway: rules for users" gateway $f
done

setup_hub 3
set_mode $MODE
tests_run
