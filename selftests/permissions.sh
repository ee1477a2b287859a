#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# docs/permissions.md: what a user without capabilities may see and do, what one
# with a user namespace of their own, and what loads the module.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

EPERM="RTNETLINK answers: Operation not permitted"
WGVIA_EPERM="permission denied: CAP_NET_ADMIN in the user namespace that owns"

# as_nobody COMMAND...: in the hub's namespace
as_nobody() { in_hub setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"; }

# state: all that an unprivileged user is not to change
state()
{
	ip_hub route show table all
	ip_hub -6 route show table all
	ip_hub nexthop show
	in_hub wg showconf hub
	in_hub wgvia show -j
	cat /sys/module/wgvia/refcnt
}

route_commands()
{
	local before command

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	before=$(state)
	for command in add append prepend; do
		check_fails "$EPERM" as_nobody ip route "$command" "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	done
	for command in replace change; do
		check_fails "$EPERM" as_nobody ip route "$command" "$prefix" dev hub via-wgpeer "${KEY[3]}"
	done
	check_fails "$EPERM" as_nobody ip route add "$prefix2" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" as_nobody ip route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$EPERM" as_nobody ip "-$f" nexthop add id 2 dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" as_nobody ip "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" as_nobody ip nexthop del id 1
	check_eq "state" "$before" "$(state)"
}

# with_caps CAPS [OPTION]... COMMAND...: in the hub's namespace, with these of root's
# capabilities, and options of setpriv
with_caps()
{
	local caps=$1
	shift

	in_hub setpriv --inh-caps="$caps" --ambient-caps="$caps" --bounding-set="$caps" "$@"
}

# CAP_NET_ADMIN is enough, for a user who is not root too.
net_admin_alone()
{
	local user

	family "$1"
	for user in 0 65534; do
		set -- with_caps -all,+net_admin --reuid="$user" --regid="$user" --clear-groups
		check_eq "capabilities" cap_net_admin "$("$@" capsh --print | capabilities)"
		check "$@" ip route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
		check_send p2 hub "$addr"
		check "$@" ip route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
		check_send p3 hub "$addr"
		check "$@" ip route del "$prefix" dev hub via-wgpeer "${KEY[3]}"
		check "$@" ip "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
		check "$@" ip "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
		check "$@" ip nexthop del id 1
		check "$@" wgvia set hub mode on filter strict
		check_eq "wgvia show" "on strict" \
			"$("$@" wgvia show -j hub | jq -r '.[0] | "\(.mode) \(.filter)"')"
		check "$@" wgvia set hub mode auto filter device
	done
}

# capabilities: the effective ones, of what capsh prints
capabilities() { sed -nE 's/^Current: (.*)=eip$/\1/p'; }

# All the others of root do not make up for it.
all_but_net_admin()
{
	local as=(with_caps -net_admin) before command out

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	before=$(state)
	check_fails "$EPERM" "${as[@]}" ip route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" "${as[@]}" ip route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" "${as[@]}" ip route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$EPERM" "${as[@]}" ip "-$f" nexthop add id 2 dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" "${as[@]}" ip "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" "${as[@]}" ip nexthop del id 1
	for command in "wgvia show" "wgvia set hub mode on" "wgvia set hub filter none"; do
		# shellcheck disable=SC2086 # words
		out=$("${as[@]}" $command 2>&1) && fail "succeeded: $command"
		[[ $out == *"$WGVIA_EPERM"* ]] || fail "$command: $out"
	done
	check_eq "state" "$before" "$(state)"
}

# Keys in routes are for everybody; what WireGuard and wgvia show is not.
may_see()
{
	local command pid

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check ip_hub "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[1]}"
	for command in "-$f route show" "route get $addr" "nexthop show" "-$f -j route show"; do
		# The difference is the user that a route is looked up for.
		# shellcheck disable=SC2086 # words
		check_eq "ip $command" "$(ip_hub $command)" \
			"$(as_nobody ip $command | sed 's/ uid 65534/ uid 0/')"
		# shellcheck disable=SC2086 # words
		[[ $(as_nobody ip $command | names) == *K[123]* ]] || fail "ip $command: no key"
	done

	nsenter --net="/run/netns/$hub" setpriv --reuid=65534 --regid=65534 --clear-groups \
		--inh-caps=-all ip "-$f" monitor route >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	busywait lines "$TMP/monitor" 1 || fail "no notification"
	kill "$pid"
	wait "$pid" 2>/dev/null
	[[ $(names <"$TMP/monitor") == *"$prefix via-wgpeer K3 dev hub"* ]] ||
		fail "ip monitor: $(names <"$TMP/monitor")"
}

tools()
{
	local before command out

	before=$(state)
	for command in "wgvia show" "wgvia show hub" "wgvia show -j" "wgvia set hub mode on" \
		"wgvia set hub filter none" "wgvia set hub mode on filter none"; do
		# shellcheck disable=SC2086 # words
		out=$(as_nobody $command 2>&1) && fail "succeeded: $command"
		[[ $out == *"$WGVIA_EPERM"* ]] || fail "$command: $out"
	done
	out=$(as_nobody wg show hub 2>&1) && fail "succeeded: wg show hub"
	[[ $out == *"Operation not permitted"* ]] || fail "wg show hub: $out"
	check_eq "state" "$before" "$(state)"
}

# user_ns COMMAND...: as root of a user namespace of nobody's own, in the hub's
# network namespace
user_ns() { as_nobody unshare --user --map-root-user "$@"; }

# Root there is nobody here.
user_namespace()
{
	local before out

	family 4
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	before=$(state)
	check_eq "user" 0 "$(user_ns id -u)"
	check_fails "$EPERM" user_ns ip route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	check_fails "$EPERM" user_ns ip route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$EPERM" user_ns ip nexthop add id 1 dev hub via-wgpeer "${KEY[3]}"
	out=$(user_ns wgvia set hub mode on 2>&1) && fail "wgvia set succeeds"
	[[ $out == *"$WGVIA_EPERM"* ]] || fail "wgvia set: $out"
	out=$(user_ns wgvia show 2>&1) && fail "wgvia show succeeds"
	[[ $out == *"$WGVIA_EPERM"* ]] || fail "wgvia show: $out"
	check_eq "state" "$before" "$(state)"
}

# own_start: a shell of nobody's, root of a user and a network namespace of its own
own_start()
{
	mkfifo "$TMP/own"
	exec {own_out}< <(exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
		unshare --user --map-root-user --net bash <"$TMP/own" 2>&1)
	OWN_SHELL=$!
	exec {own_in}>"$TMP/own"
	rm "$TMP/own"
	own echo ready
	check_eq "the namespace" ready "$REPLY"
}

own_stop()
{
	exec {own_in}>&- {own_out}<&-
	wait "$OWN_SHELL" 2>/dev/null
}

# own COMMAND...: in that shell; what it says and its status, if not 0, are in $REPLY
own()
{
	local line

	REPLY=
	echo "{ ${*@Q}; } 2>&1 </dev/null; echo \"end \$?\"" >&"$own_in"
	while read -r -t $((20 * SLOW)) -u "$own_out" line; do
		case $line in
		"end 0") return 0 ;;
		"end "*) break ;;
		esac
		REPLY+=${REPLY:+$'\n'}$line
	done
	REPLY+=${REPLY:+$'\n'}"status ${line#end }"
}

# own_check EXPECTED COMMAND...
own_check()
{
	local expected=$1
	shift

	own "$@"
	check_eq "$*" "$expected" "$REPLY"
}

# own_fails TEXT COMMAND...: with this in what it says
own_fails()
{
	local text=$1
	shift

	own "$@"
	[[ $REPLY == *"$text"*"status "* ]] || fail "$*: wants \"$text\", got: $REPLY"
}

# Over what is theirs they have all rights, over what is not they have none, and
# do not see it.
own_namespace()
{
	local before

	before=$(state)
	own_start
	own_check "" ip link add wg0 type wireguard
	own_check "" ip link set wg0 up
	own_check "" ip link set lo up
	own_check "" ip address add 10.0.0.1/24 dev wg0
	own_check "" wg set wg0 peer "${KEY[2]}" allowed-ips 10.0.0.2/32
	own_check "" wgvia set wg0 mode off
	own_check "$MODE_OFF"$'\n'"status 2" ip route add 10.2.0.0/16 dev wg0 via-wgpeer "${KEY[2]}"
	own_check "" wgvia set wg0 mode auto filter strict
	own_check "" ip route add 10.2.0.0/16 dev wg0 via-wgpeer "${KEY[2]}"
	own_check "" ip route add 10.3.0.0/16 nexthop dev wg0 via-wgpeer "${KEY[2]}" weight 2 \
		nexthop via 10.0.0.2 dev wg0
	own_check "" ip -6 route add fd02::/48 dev wg0 via-wgpeer "${KEY[2]}"
	own_check "" ip -6 nexthop add id 1 dev wg0 via-wgpeer "${KEY[2]}"
	own_check "" ip -6 route add fd03::/48 nhid 1
	own wgvia show -j
	check_eq "wgvia show" '["wg0","auto","strict",4]' \
		"$(jq -c '[.[] | .ifname, .mode, .filter, .states]' <<<"$REPLY")"
	own_fails "hub: no such device" wgvia show hub
	own_fails "hub: no such device" wgvia set hub mode off
	own_fails 'Cannot find device "hub"' ip route add 10.4.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	own_check "" ip route del 10.3.0.0/16
	own_check "" ip link del wg0
	own_stop
	busywait references_are "${before##*$'\n'}" || fail "the module is still referred to"
	check_eq "state" "$before" "$(state)"
}

references_are() { [[ $(cat /sys/module/wgvia/refcnt) == "$1" ]]; }

# The namespace where a device is counts, not that where it was made.
moved_device()
{
	own_start
	check ip_hub link add moved type wireguard
	check in_hub wg set moved peer "${KEY[2]}"
	check in_hub wgvia set moved mode auto
	check ip_hub link set moved netns "$OWN_SHELL"
	own_check "" ip link set moved up
	own_check "" wgvia set moved mode on filter none
	own_check "" ip -6 route add fd02::/48 dev moved via-wgpeer "${KEY[2]}"
	# Back, by who has rights in both.
	check nsenter --net="/proc/$OWN_SHELL/ns/net" ip link set moved netns "$hub"
	check_eq "the device" '["on","none",0]' \
		"$(in_hub wgvia show -j moved | jq -c '.[0] | [.mode, .filter, .states]')"
	own_fails "moved: no such device" wgvia set moved mode off
	own_stop
	check ip_hub link del moved
}

loaded() { [[ -d /sys/module/wgvia ]]; }

# Any user can load it, by asking for the family as wgvia and ip do; it says nothing about devices
# that no route names a peer of.
loading()
{
	local net_admin=(with_caps "-all,+net_admin" --reuid=65534 --regid=65534 --clear-groups)

	busywait module_idle || fail "the module is referred to"
	check rmmod wgvia
	as_nobody wgvia show >/dev/null 2>&1 && fail "wgvia show succeeds"
	loaded || fail "asking for the family does not load the module"
	check rmmod wgvia
	check_fails "$EPERM" as_nobody ip route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	loaded || fail "ip does not ask for the family"
	check rmmod wgvia
	# Not root, and may add routes
	check "${net_admin[@]}" ip route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub 10.2.0.1
	check "${net_admin[@]}" ip route del 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	busywait module_idle || fail "the module is referred to"
	check rmmod wgvia
	mkdir -p /run/modprobe.d
	echo "blacklist wgvia" >/run/modprobe.d/wgvia.conf
	as_nobody wgvia show >/dev/null 2>&1 && fail "wgvia show succeeds"
	check_fails "$NOT_LOADED"$'\n'"$EPERM" \
		as_nobody ip route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	loaded && fail "a request loads the module although it is on the blacklist"
	check modprobe wgvia
	check rmmod wgvia
	rm /run/modprobe.d/wgvia.conf
	own_start
	own_check "" ip link add wg0 type wireguard
	own_check "" ip link set wg0 up
	own_check "Warning: $NO_PEER_YET." ip -6 route add fd02::/48 dev wg0 via-wgpeer "${KEY[2]}"
	loaded || fail "a route in a namespace of one's own does not load the module"
	own_stop
	check_show "the hub's device" '[.mode, .states]' '["auto",0]'
	count_from_now
	check_send p1 hub 10.0.0.1
	check_counters
	busywait module_idle || fail "the module is referred to"
}

for f in 4 6; do
	test_add "IPv$f: no route or nexthop command without CAP_NET_ADMIN" route_commands $f
	test_add "IPv$f: CAP_NET_ADMIN alone is enough" net_admin_alone $f
	test_add "IPv$f: all capabilities but CAP_NET_ADMIN are not" all_but_net_admin $f
	test_add "IPv$f: everybody sees the keys in routes" may_see $f
done
test_add "nothing by wgvia and wg without CAP_NET_ADMIN" tools
test_add "root of a user namespace is nobody in this network namespace" user_namespace
test_add "all in a network namespace of one's own, nothing in another" own_namespace
test_add "a device that moves between them" moved_device
test_add "who may load the module" loading

setup_hub 3
set_mode $MODE
tests_run
