#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# leaks.sh COMMAND...: run it and end with its status, unless something is left of it:
#
#   the modules wgvia and wireguard can be unloaded (nothing refers to them); the
#   caches of WireGuard go then, and the kernel complains of what is left in them
#   the slab caches of namespaces, routes and dsts hold no more than before
#   kmemleak finds nothing, where the kernel has it; elsewhere a leak of the module's own
#   (a hook, counters) goes unnoticed unless it holds one of the above
#   lockdep, where the kernel has it, has looked until the end
#
# A binding that is left holds its device, which then never goes: scripts/vm tells of that.
#
# Objects that are left are printed in lines that begin with #, then "Bail out!". So is why
# nothing can be said of it.

caches=(net_namespace ip_fib_alias ip_fib_trie rtable)
# These are not there with ipv6.disable=1.
[[ ! -e /proc/net/if_inet6 ]] || caches+=(fib6_node ip6_dst_cache)
kmemleak=/sys/kernel/debug/kmemleak
leaks=()

bail_out()
{
	echo "Bail out! leaks: $*"
	exit 1
}

has_kmemleak() { zcat /proc/config.gz | grep -qx CONFIG_DEBUG_KMEMLEAK=y; }

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug

# objects: "cache count" of each cache, without what is only kept for the next use.
# A namespace is freed when the next one goes (net_complete_free()): one is always left.
objects()
{
	local cache

	ip netns add leaks
	ip netns del leaks
	sleep 1
	for cache in /sys/kernel/slab/*/shrink; do
		[[ ! -w $cache ]] || echo 1 >"$cache"
	done
	# shellcheck disable=SC2016 # fields of awk
	awk -v caches="^($(IFS='|'; echo "${caches[*]}"))\$" '$1 ~ caches { print $1, $2 }' \
		/proc/slabinfo | sort
}

# more BEFORE: the caches that hold more than then, or that were not there
more()
{
	# shellcheck disable=SC2016 # fields of awk
	objects | awk 'NR == FNR { before[$1] = $2; next }
		       $2 > before[$1] { print $1 ": " before[$1] + 0 " objects before, " $2 " now" }' \
		<(echo "$1") -
}

unload()
{
	[[ ! -d /sys/module/$1 ]] || rmmod "$1" 2>/dev/null
}

# wait_for COMMAND...: namespaces and references go a while after what held them
wait_for()
{
	local i

	for i in {1..60}; do
		! "$@" || return 0
		sleep 0.5
	done
	return 1
}

no_more() { [[ -z $(more "$before") ]]; }

# Only what is not referred to for some seconds is reported, and by a second scan.
# kmemleak takes no orders any more when it has given up for want of memory.
scan()
{
	has_kmemleak || return 0
	if ! { echo scan >$kmemleak && sleep 6 && echo scan >$kmemleak && cat $kmemleak; }; then
		echo "kmemleak does not scan: see the kernel's messages"
	fi
}

before=$(objects)
[[ $(wc -l <<<"$before") == "${#caches[@]}" ]] ||
	bail_out "the kernel merges caches, or has not all of ${caches[*]}: boot it with slab_nomerge"
if has_kmemleak; then
	scan >/dev/null
	echo clear >$kmemleak || bail_out "kmemleak does not work: see the kernel's messages"
fi
"$@"
status=$?

for module in wgvia wireguard; do
	wait_for unload $module ||
		leaks+=("$module is referred to: $(</sys/module/$module/refcnt)")
done
wait_for no_more || leaks+=("$(more "$before")")
found=$(scan)
[[ -z $found ]] || leaks+=("$found")

if [[ -e /proc/lockdep_stats ]] && ! grep -qE '^ debug_locks: +1$' /proc/lockdep_stats; then
	leaks+=("lockdep has given up: see the kernel's messages")
fi

if ((${#leaks[@]})); then
	printf '%s\n' "${leaks[@]}" | sed 's/^/# /'
	bail_out "see above"
fi
if has_kmemleak; then
	echo "# no leaks: modules unloaded, slab caches as before, kmemleak found nothing"
else
	echo "# no leaks: modules unloaded, slab caches as before (no kmemleak in this kernel)"
fi
exit $status
