#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# reload.sh [TIMES]: the module comes and goes TIMES (100) while packets flow both ways, half
# of the times IPv4 and half IPv6.
#
# The peer is the same with the module and without it, so no packet may be lost or go
# elsewhere. On a stock kernel functions are replaced and restored under the packets that
# they are called for. Another peer comes and goes all the time, so that the functions which
# take note of peers are called while the module comes and goes.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=../lib/traffic.sh
source "$(dirname "$0")/../lib/traffic.sh"

MODE=on
TIMES=$((${1:-100} / 2))

peer_comes_and_goes()
{
	while [[ -e $TMP/comes_and_goes ]]; do
		remove_peer 3
		add_peer 3
		echo
	done >"$TMP/times"
}

reload()
{
	local i pid

	family "$1"
	stream_start "$hub_addr" "$peer2" p2
	touch "$TMP/comes_and_goes"
	peer_comes_and_goes &
	pid=$!
	for ((i = 1; i <= TIMES; i++)); do
		check rmmod wgvia
		stream_more
		check modprobe wgvia
		set_mode on
		stream_more
	done
	rm "$TMP/comes_and_goes"
	wait "$pid"
	stream_end
	(($(wc -l <"$TMP/times") >= TIMES)) || fail "the peer came only $(wc -l <"$TMP/times") times"
	check_module_idle
	check_send p3 hub "$peer3"
}

for f in 4 6; do
	test_add "IPv$f: loaded and unloaded $TIMES times under packets" reload $f
done

setup_hub 3
set_mode $MODE
tests_run
