#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# systemd's network daemon beside keyed routes: the real one, by itself.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=../lib/recipes.sh
source "$selftests/lib/recipes.sh"

NETWORKD=/opt/systemd/systemd-networkd
ROUTES=2000

[[ -x $NETWORKD ]] || skip_all "needs $NETWORKD"
command -v socat >/dev/null || skip_all "needs socat"

NETWORKD_PID=

# networkd_start [BLOCK]: with the files of $TMP/network, and after this block of docs/recipes.md;
# returns when it has read all links and routes that there are. It needs its own user, places to write, and, since
# there is no udev, a /sys that is read-only, as in a container.
networkd_start()
{
	rm -f "$TMP/notified"
	socat -u "UNIX-RECV:$TMP/run/notify,mode=666" "CREATE:$TMP/notified" &
	NOTIFY_PID=$!
	busywait test -S "$TMP/run/notify" || fail "nobody listens for the daemon"
	# shellcheck disable=SC2016 # expanded inside
	ip netns exec "$hub" bash -euc '
		mount -o remount,ro /sys
		mount --bind "$0/etc" /etc
		mkdir -p /run/systemd
		mount --bind "$0/run" /run/systemd
		mount -t tmpfs etc /etc/systemd
		cp -r "$0/network" /etc/systemd/
		eval "$2"
		NOTIFY_SOCKET=/run/systemd/notify exec "$1"' \
		"$TMP" "$NETWORKD" "${1:+$(block "$1")}" >"$TMP/log" 2>&1 </dev/null &
	NETWORKD_PID=$!
	busywait grep -qs READY=1 "$TMP/notified" || fail "the daemon is not ready: $(cat "$TMP/log")"
}

networkd_stop()
{
	[[ -n $NETWORKD_PID ]] || return
	kill "$NETWORKD_PID"
	wait "$NETWORKD_PID"
	NETWORKD_PID=
	kill "$NOTIFY_PID" 2>/dev/null
	wait "$NOTIFY_PID" 2>/dev/null
	rm -f "$TMP/run/notify"
}

# add_routes WORD...: many routes by this nexthop
add_routes()
{
	local i

	for ((i = 0; i < ROUTES; i++)); do
		echo "route add 10.$((64 + i / 256)).$((i % 256)).0/24 $*"
	done | ip_hub -batch - || fail "cannot add routes"
}

# peak_with WORD...: the daemon's peak memory with routes by this nexthop, in KiB
peak_with()
{
	add_routes "$@"
	networkd_start
	PEAK=$(sed -nE 's/^VmHWM:\s*([0-9]+) kB/\1/p' "/proc/$NETWORKD_PID/status")
	networkd_stop
	ip_hub route flush proto boot
}

memory()
{
	local gateways keys

	peak_with via 10.0.0.1 dev hub
	gateways=$PEAK
	peak_with dev hub via-wgpeer "${KEY[1]}"
	keys=$PEAK
	echo "# peak memory with $ROUTES routes: $gateways KiB with gateways, $keys KiB with keys"
	[[ $gateways -gt 0 && $keys -lt $((2 * gateways)) ]] ||
		fail "peak memory with $ROUTES routes: $gateways KiB with gateways, $keys KiB with keys"
}

configured()
{
	grep -qsx ADMIN_STATE=configured "$TMP/run/netif/links/$(ip_hub -j link show hub | jq '.[].ifindex')"
}

keyed_routes() { routes 4; ip_hub route show proto static; ip_hub route show proto bird; routes 6; }

# restarts [BLOCK]: keyed routes before, with and after a daemon that manages the device
restarts()
{
	local before

	cat >"$TMP/network/hub.network" <<-END
		[Match]
		Name=hub
		[Network]
		LinkLocalAddressing=no
		IPv6AcceptRA=no
		Address=10.0.0.254/24
		Address=fd00::fe/64
	END
	check ip_hub route add 10.1.0.0/16 dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[1]}" proto static
	check ip_hub route add 10.3.0.0/16 dev hub via-wgpeer "${KEY[1]}" proto bird
	check ip_hub route add fd01::/48 dev hub via-wgpeer "${KEY[1]}"
	before=$(keyed_routes)
	networkd_start "$@"
	busywait configured || fail "the daemon does not take the device on: $(cat "$TMP/log")"
	AFTER_FIRST=$(keyed_routes)
	networkd_stop
	networkd_start "$@"
	busywait configured || fail "the daemon does not take the device on: $(cat "$TMP/log")"
	AFTER_SECOND=$(keyed_routes)
	networkd_stop
	BEFORE=$before
}

# recipe BLOCK WORD...: a command that takes the block
recipe() { "${@:2}" "$1"; }

survive()
{
	recipe networkd restarts
	check_eq "routes when the daemon runs" "$BEFORE" "$AFTER_FIRST"
	check_eq "routes when it runs again" "$BEFORE" "$AFTER_SECOND"
}

# Else the test before says nothing.
removed()
{
	restarts ""
	[[ $AFTER_FIRST != "$BEFORE" ]] || fail "the daemon leaves them alone"
}

has_new() { ip_hub link show new >/dev/null 2>&1; }

# It makes the device, twice: what the recipe has set for devices to come is set.
made_again()
{
	local round

	cat >"$TMP/network/new.netdev" <<-END
		[NetDev]
		Name=new
		Kind=wireguard
		[WireGuard]
		PrivateKey=${PRIVATE[0]}
		[WireGuardPeer]
		PublicKey=${KEY[1]}
		AllowedIPs=10.7.0.1/32
	END
	for round in once again; do
		if [[ $round == once ]]; then
			recipe defaults networkd_start
		else
			networkd_start
		fi
		busywait has_new || fail "the daemon does not make the device, $round: $(cat "$TMP/log")"
		check_eq "settings of the device that was made $round" '["on","loose",true]' \
			"$(in_hub wgvia show -j new | jq -c '.[0] | [.mode, .filter, .multicast]')"
		networkd_stop
		check ip_hub link del new
	done
}

test_reset()
{
	networkd_stop
	rm -f "$TMP"/network/*
	ip_hub link del new 2>/dev/null
	in_hub wgvia set default mode auto filter device multicast off
	ip_hub route flush proto static
	ip_hub route flush proto bird
	ip_hub -6 route flush proto boot
	ip_hub route flush proto boot
}

cleanup_file() { networkd_stop; }

setup_ns hub
for i in 0 1; do new_key $i; done
ip_hub link add hub type wireguard || bail_out "no WireGuard device"
in_hub wg set hub private-key /dev/stdin peer "${KEY[1]}" allowed-ips 10.0.0.1/32,fd00::1/128 <<<"${PRIVATE[0]}"
ip_hub -batch - <<-END
	link set hub up
	address add 10.0.0.254/24 dev hub
	address add fd00::fe/64 dev hub
END
chmod 711 "$TMP"
mkdir "$TMP/network" "$TMP/run"
cp -a /etc "$TMP/"
mkdir -p "$TMP/etc/systemd"
echo 'systemd-network:x:990:990::/:/usr/sbin/nologin' >>"$TMP/etc/passwd"
echo 'systemd-network:x:990:' >>"$TMP/etc/group"
chown 990:990 "$TMP/run"
in_hub wgvia set hub mode auto

test_add "memory of systemd-networkd with keyed routes" memory
test_add "keyed routes survive its restarts with ManageForeignRoutes=no" survive
test_add "without it the daemon removes them" removed
test_add "settings of a device that it makes again" made_again

tests_run
