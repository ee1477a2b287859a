# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The hub's device as wgvia has it: settings, counters, bindings, routes. Sourced by lib.sh.

# The kernel's words about routes, see check_warns and check_fails.
NO_PEER_YET="no peer has this key yet: packets get ENOKEY until it is added"
MODE_OFF="Error: wgvia is off on this device: wgvia set DEV mode auto turns it on."
NEEDS_DEVICE="Error: via-wgpeer needs a device."
NEEDS_WIREGUARD="Error: via-wgpeer needs a WireGuard device."
# ip's, before the kernel's, where the module is not found
NOT_LOADED="Warning: via-wgpeer: the wgvia kernel module is not loaded: run modprobe wgvia, and install the module for the running kernel if that does not find it."
# And of mode off
STILL_KEYED="routes, nexthop objects or sockets name peers of it: delete or close them first"

# A nexthop that is gone may be kept by a dst for a moment: mode off waits for that.
set_mode()
{
	local out

	if [[ $1 == off ]]; then
		busywait states_are 0 || fail "nexthops that name a peer stay: $(show .states)"
	fi
	out=$(in_hub wgvia set hub mode "$1" 2>&1) || fail "wgvia set hub mode $1: $out"
}

states_are() { [[ $(show .states) == "$1" ]]; }

# check_states COUNT: of the nexthops that name a peer of the hub's device
check_states()
{
	busywait states_are "$1" || check_show "nexthops that name a peer" .states "$1"
}

set_filter()
{
	local out

	out=$(in_hub wgvia set hub filter "$1" 2>&1) || fail "wgvia set hub filter $1: $out"
}

# show JQ_FILTER: of the hub's device
show()
{
	in_hub wgvia show -j hub | jq -rc ".[0] | $1"
}

# check_show WHAT JQ_FILTER EXPECTED
check_show()
{
	check_eq "$1" "$3" "$(show "$2" | names)"
}

# bindings: KEY=STATES of each, sorted
bindings() { show '.bindings[] | "\(.key)=\(.states)"' | names | sort | paste -sd ' '; }

bindings_are() { [[ $(bindings) == "$1" ]]; }

# check_bindings EXPECTED: KEY=STATES..., sorted, once none is kept by what will soon be freed
check_bindings()
{
	busywait bindings_are "$1" || check_eq "bindings" "$1" "$(bindings)"
}

# count_from_now: what check_counters compares with
count_from_now()
{
	COUNTED=$(in_hub wgvia show -j hub)
}

# check_counters NAME=COUNT...: these and no others have moved since
check_counters()
{
	local result

	# shellcheck disable=SC2016 # variables of jq
	result=$(in_hub wgvia show -j hub | jq -r --argjson before "$COUNTED" '
		$before[0].counters as $before
		| [.[0].counters | to_entries[] | select(.value != $before[.key])
		   | "\(.key | gsub("_"; "-"))=\(.value - $before[.key])"]
		| sort | join(" "), ($ARGS.positional | sort | join(" "))' --args "$@")
	check_eq "counters that have moved" "${result##*$'\n'}" "${result%$'\n'*}"
}

# routes FAMILY [SELECTOR]...: the hub's routes that a test has made, one a line
routes()
{
	local family=$1
	shift

	ip_hub "-$family" route show "$@" proto boot | names |
		sed -E 's/ +/ /g; s/ $//; s/ (proto boot|metric 1024|pref medium)//g'
}

# nexthops FAMILY: of all routes of the hub to $prefix, in their order: the key, the gateway or
# the device of each
nexthops()
{
	ip_hub "-$1" -j route show "$prefix" |
		jq -r '[.[] | .nexthops // [.] | .[] | .via_wgpeer // .gateway // .via.host // .dev] | join(" ")' |
		names
}

# module_idle: nothing refers to the module any more
module_idle()
{
	[[ $(cat /sys/module/wgvia/refcnt) == 0 ]]
}

check_module_idle()
{
	busywait module_idle ||
		fail "the module is still referred to: $(cat /sys/module/wgvia/refcnt)"
}

# listens_to_groups PID: ip monitor has its socket
listens_to_groups()
{
	# shellcheck disable=SC2016 # fields of awk
	in_hub awk -v pid="$1" '$3 == pid && $4 != "00000000" { found = 1 } END { exit !found }' \
		/proc/net/netlink
}

# lines FILE COUNT: it has so many
lines() { [[ $(wc -l <"$1") -ge $2 ]]; }
