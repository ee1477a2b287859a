#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# layout.sh VMLINUX [WIREGUARD_KO]: print layout.h for this wireguard.ko, whose BTF builds on
# that of vmlinux. Called by Kbuild.

set -eu
PATH=$PATH:/usr/sbin:/sbin
vmlinux=$1 ko=${2:-}

fail() {
	echo "wgvia: error: $*" >&2
	exit 1
}

[ "$ko" ] || fail "wireguard.ko of this kernel is not found: install the kernel's modules, or name it in WGVIA_WIREGUARD_KO"
[ -e "$vmlinux" ] || fail "$vmlinux, which has the types that wireguard.ko uses, is not there: install all of the kernel's headers"
command -v bpftool >/dev/null || fail "bpftool is needed to read the layout of wireguard.ko: install it"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $ko in
*.xz) xz -dc "$ko" ;;
*.zst) zstd -dc "$ko" ;;
*.gz) gzip -dc "$ko" ;;
*) cat "$ko" ;;
esac >"$dir/wireguard.ko"
bpftool btf dump file "$vmlinux" format raw >"$dir/vmlinux.btf" ||
	fail "$vmlinux has no BTF (CONFIG_DEBUG_INFO_BTF)"
bpftool btf dump file "$dir/wireguard.ko" -B "$vmlinux" format raw >"$dir/wireguard.btf" ||
	fail "$ko has no BTF that builds on that of $vmlinux (CONFIG_DEBUG_INFO_BTF_MODULES)"
awk -f "$(dirname "$0")/layout.awk" "$dir/vmlinux.btf" "$dir/wireguard.btf" ||
	fail "$ko is not the WireGuard that wgvia knows"
