#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On a stock kernel the module refuses to be loaded rather than guess: each time with a
# sentence in the log, and with nothing left behind.
# way: stock

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

TRACING=/sys/kernel/tracing
BPF=/sys/fs/bpf/wgvia_selftest
MODULE=$(modinfo -n wgvia)

# The folder of what was built for the running kernel
for release in /build/kernel-*/linux/include/config/kernel.release; do
	[[ $(<"$release") != "$(uname -r)" ]] || RIVAL=${release%/linux/*}/rival
done

cleanup_file()
{
	bpf_ends
	! mountpoint -q /sys/kernel/btf || umount /sys/kernel/btf
	[[ -z ${MODPROBE:-} ]] || echo "$MODPROBE" >/proc/sys/kernel/modprobe
	unload wgvia_rival
}

# Nothing to reset: there are no devices.
test_reset() { :; }

unload() { [[ ! -d /sys/module/$1 ]] || rmmod "$1" || fail "$1 does not unload"; }

# changed OLD NEW: the module with these bytes, which it has once, in the place of those
changed()
{
	python3 - "$MODULE" "$1" "$2" >"$TMP/wgvia.ko" <<-'END'
		import lzma, sys
		path, old, new = sys.argv[1:]
		data = (lzma.open if path.endswith(".xz") else open)(path, "rb").read()
		old, new = (eval("b'" + text + "'") for text in (old, new))
		assert data.count(old) == 1 and len(old) == len(new), data.count(old)
		sys.stdout.buffer.write(data.replace(old, new))
	END
}

# check_refuses ERROR SENTENCE [FILE]: loading it fails, the log says why, and nothing is left
check_refuses()
{
	local out said before users=0

	before=$(<"$TRACING/enabled_functions")
	[[ ! -e /sys/module/wireguard ]] || users=$(</sys/module/wireguard/refcnt)
	dmesg -C
	out=$(insmod "${3:-$MODULE}" 2>&1) && fail "it loads"
	check_eq "error" "$1" "${out##*: }"
	said=$(dmesg -t | sed -n 's/^wgvia: //p')
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]] || fail "log says: $said"
	[[ ! -e /sys/module/wgvia ]] || fail "there is a module wgvia"
	check_eq "replaced functions" "$before" "$(<"$TRACING/enabled_functions")"
	[[ ! -e /sys/module/wireguard ]] ||
		check_eq "users of wireguard.ko" "$users" "$(</sys/module/wireguard/refcnt)"
}

# check_loads: as it is it can be loaded, and unloaded
check_loads()
{
	modprobe wireguard
	check insmod "$MODULE"
	check rmmod wgvia
}

other_size()
{
	# The size of struct wg_peer in the table of layouts: two pointers that are relocated, and the number
	changed '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x70\x06\x00\x00' \
		'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x78\x06\x00\x00'
	check_refuses "Invalid module format" \
		'struct "wg_peer" of the wireguard.ko that is loaded is another *: build wgvia for this kernel' \
		"$TMP/wgvia.ko"
	check_loads
}

other_offset()
{
	# The offset of its reference count
	changed '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x30\x04\x00\x00' \
		'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x38\x04\x00\x00'
	check_refuses "Invalid module format" \
		'struct "wg_peer" of the wireguard.ko that is loaded is another ("refcount" *: build wgvia for this kernel' \
		"$TMP/wgvia.ko"
	check_loads
}

no_btf()
{
	mount -t tmpfs none /sys/kernel/btf
	check_refuses "Operation not supported" \
		'"/sys/kernel/btf/vmlinux" cannot be read (-2): wgvia needs it to know the layout of wireguard.ko'
	umount /sys/kernel/btf
	check_loads
}

other_btf()
{
	mount -t tmpfs none /sys/kernel/btf
	printf 'what a later kernel may have' | tee /sys/kernel/btf/vmlinux >/sys/kernel/btf/wireguard
	check_refuses "Operation not supported" \
		"the BTF of wireguard.ko is in a form that wgvia does not know"
	umount /sys/kernel/btf
	check_loads
}

no_function()
{
	changed 'wireguard:wg_peer_put\x00' 'wireguard:wg_peer_pot\x00'
	check_refuses "Unknown symbol in module" \
		'wireguard:wg_peer_pot is not found (-2): wgvia does not know this kernel*s WireGuard' \
		"$TMP/wgvia.ko"
	check_loads
}

no_wireguard()
{
	rmmod wireguard || fail "wireguard does not unload"
	MODPROBE=$(</proc/sys/kernel/modprobe)
	echo /bin/false >/proc/sys/kernel/modprobe
	check_refuses "No such device" "there is no module wireguard: load it, it may not be built in"
	echo "$MODPROBE" >/proc/sys/kernel/modprobe
	check_loads
}

loads_wireguard()
{
	rmmod wireguard || fail "wireguard does not unload"
	check insmod "$MODULE"
	check_eq "users of wireguard.ko" 1 "$(</sys/module/wireguard/refcnt)"
	rmmod wireguard 2>/dev/null && fail "wireguard unloads under wgvia"
	check rmmod wgvia
	check rmmod wireguard
	modprobe wireguard
}

BUSY="wireguard:wg_allowedips_lookup_dst is replaced or traced by something else, a BPF program or a livepatch: end that first"

# bpf_begins, bpf_ends: a BPF program (fentry) is called with the function
bpf_begins()
{
	[[ -e $TMP/fentry.o ]] || clang-19 -target bpf -g -O2 -x c -c -o "$TMP/fentry.o" - <<-'END' || fail "no program"
		char _license[] __attribute__((section("license"))) = "GPL";
		__attribute__((section("fentry/wg_allowedips_lookup_dst"))) int see(void *ctx) { return 0; }
	END
	# A program that cannot be attached is loaded all the same.
	bpftool prog load "$TMP/fentry.o" "$BPF" autoattach 2>"$TMP/said" &&
		! grep -q 'failed to attach' "$TMP/said"
}

bpf_ends() { rm -f "$BPF"; }

bpf_before()
{
	bpf_begins || fail "no BPF program: $(<"$TMP/said")"
	check_refuses "Device or resource busy" "$BUSY"
	bpf_ends
	busywait insmod "$MODULE" 2>/dev/null || fail "it does not load when the program has gone"
	check rmmod wgvia
}

bpf_after()
{
	check insmod "$MODULE"
	bpf_begins && fail "the program is attached"
	grep -q 'failed to attach' "$TMP/said" || fail "bpftool says: $(<"$TMP/said")"
	bpf_ends
	check rmmod wgvia
	bpf_begins || fail "no BPF program: $(<"$TMP/said")"
	bpf_ends
}

patch_is_gone() { [[ ! -e /sys/kernel/livepatch/wgvia_livepatch ]]; }

livepatch_ends()
{
	echo 0 >/sys/kernel/livepatch/wgvia_livepatch/enabled
	busywait patch_is_gone || fail "the livepatch stays"
	check rmmod wgvia_livepatch
}

livepatch_before()
{
	check insmod "$RIVAL/wgvia_livepatch.ko"
	check_refuses "Device or resource busy" "$BUSY"
	livepatch_ends
	check_loads
}

livepatch_after()
{
	check insmod "$MODULE"
	insmod "$RIVAL/wgvia_livepatch.ko" 2>/dev/null && fail "the livepatch is loaded"
	check rmmod wgvia
	check insmod "$RIVAL/wgvia_livepatch.ko"
	livepatch_ends
}

# Then keyed routes are refused, and all else works.
type_is_taken()
{
	insmod "$RIVAL/wgvia_rival.ko" || fail "no rival"
	dmesg -C
	check insmod "$MODULE"
	[[ $(dmesg -t) == *"wgvia: something else has the type of lightweight tunnel"*"routes with gateways work"* ]] ||
		fail "log says: $(dmesg -t)"
	check_eq "type" 0 "$(</sys/module/wgvia/parameters/encap_type)"
	check ip link add wgt type wireguard
	check wgvia set wgt mode on multicast on
	check_eq "wgvia show" "stock kernel: routes cannot name peers: something else has the type of encapsulation that wgvia would use on this kernel (dmesg); routes with gateways work" \
		"$(wgvia show | tail -n 1)"
	check_eq "wgvia route" "wgvia: routes cannot name peers: something else has the type of encapsulation that wgvia would use on this kernel (dmesg); routes with gateways work" \
		"$(wgvia route add 10.2.0.0/16 dev wgt via-wgpeer "$(wg genkey)" 2>&1)"
	check_eq "ip route" "Error: via-wgpeer: something else has the type of encapsulation that wgvia would use on this kernel." \
		"$(ip route add 10.2.0.0/16 dev wgt via-wgpeer "$(wg genkey)" 2>&1)"
	check ip link del wgt
	check rmmod wgvia
	unload wgvia_rival
	check_loads
}

type_is_free()
{
	check insmod "$MODULE"
	check_eq "type" 9 "$(</sys/module/wgvia/parameters/encap_type)"
	check_eq "wgvia show" "stock kernel: routes name peers in encapsulation type 9" "$(wgvia show | tail -n 1)"
	insmod "$RIVAL/wgvia_rival.ko" 2>/dev/null && fail "the rival gets the type"
	check rmmod wgvia
}

# Nobody waits for what never comes.
no_events()
{
	local pid

	check insmod "$MODULE"
	check ip link add wgt type wireguard
	wg genkey | wg set wgt private-key /dev/stdin || fail "no key"
	check_fails "wgvia: wgt: this kernel does not tell of peers, which takes one with the patches of wgvia: run wgvia linklocal wgt each time that peers were added" \
		timeout 60 wgvia linklocal --follow wgt
	check_eq "addresses" "" "$(ip -br -6 address show dev wgt)"
	check_fails "wgvia: this kernel does not tell of sessions: that takes one with the patches of wgvia" \
		timeout 60 wgvia monitor sessions
	wgvia monitor >/dev/null 2>"$TMP/said" &
	pid=$!
	# The tool writes the sentence in parts.
	busywait grep -q 'patches of wgvia$' "$TMP/said" || fail "wgvia monitor says nothing of it"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "wgvia monitor" "wgvia: warning: this kernel does not tell of peers, sessions, endpoints: that takes one with the patches of wgvia" \
		"$(<"$TMP/said")"
	check ip link del wgt
	check rmmod wgvia
}

# The kernel says it. For good: this has to be the last one.
lockdown()
{
	echo integrity >/sys/kernel/security/lockdown || fail "no lockdown"
	check_refuses "Operation not permitted" ""
	[[ $(dmesg -t) == *"Lockdown: insmod: unsigned module loading is restricted"* ]] ||
		fail "log says: $(dmesg -t)"
}

test_add "loads, and loads wireguard.ko" loads_wireguard
test_add "a struct of another size" other_size
test_add "a member at another place" other_offset
test_add "no BTF" no_btf
test_add "BTF of another form" other_btf
test_add "a function that is not there" no_function
test_add "no wireguard.ko" no_wireguard
test_add "a BPF program" bpf_before
test_add "a livepatch" livepatch_before
test_add "no BPF program beside it" bpf_after
test_add "no livepatch beside it" livepatch_after
test_add "the type is free" type_is_free
test_add "the type is taken" type_is_taken
test_add "no events of peers" no_events
test_add "lockdown" lockdown

mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
mountpoint -q $TRACING || mount -t tracefs tracefs $TRACING
mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
modprobe -q wireguard
[[ ! -d /sys/module/wgvia ]] || rmmod wgvia || bail_out "the module does not unload"
tests_run
