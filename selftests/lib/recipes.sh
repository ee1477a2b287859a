# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Run what docs/recipes.md says. Sourced after lib.sh by the tests of that page;
# the hub's device is made as the page says too.

page=$(readlink -m "$selftests/../docs/recipes.md")

# blocks: the names of all blocks with a marker
blocks() { sed -n 's/^<!-- test: \(.*\) -->$/\1/p' "$page"; }

# block NAME: the fenced block that follows the marker
block()
{
	awk -v marker="<!-- test: $1 -->" '
		$0 == marker { found = 1; next }
		found && /^```/ { if (inside) exit; inside = 1; next }
		inside' "$page"
}

# recipe NAME [NETNS]: run the block in a namespace, the hub if nothing else is
# said, and there in the folder of that name
recipe()
{
	local ns=${2:-$hub} text out status

	text=$(block "$1")
	[[ -n $text ]] || bail_out "the page has no block $1"
	out=$(cd "$TMP/$ns" && KEY1=${KEY[1]} KEY2=${KEY[2]} KEY3=${KEY[3]} \
		ip netns exec "$ns" bash -euo pipefail -c "$text" 2>&1 </dev/null)
	status=$?
	[[ $status -eq 0 ]] || fail "block $1 ends with status $status: $out"
	[[ $out != *Warning:* ]] || fail "block $1: $out"
}

# unmarked_blocks: the fenced blocks that do not follow a marker at once
unmarked_blocks()
{
	awk '
		/^ *(```|~~~)/ {
			if (!inside && before !~ /^<!-- test: [^ ]+ -->$/)
				print "line " NR ": " $0
			inside = !inside
		}
		{ before = $0 }' "$page"
}

# all_blocks_tested FILE...: one of these names it
all_blocks_tested()
{
	local name

	check_eq "blocks without a marker" "" "$(unmarked_blocks)"
	check_eq "blocks, as many as markers" "$(blocks | wc -l)" "$(grep -c '^ *```sh$' "$page")"
	check_eq "markers that are there twice" "" "$(blocks | sort | uniq -d)"
	for name in $(blocks); do
		(cd "$selftests" && grep -qE "^\s*recipe $name( |$)" "$@") ||
			fail "no test runs the block $name"
	done
}

allowed_ips() { echo "10.0.0.$1/32,fd00::$1/128,fe80::$1/128"; }

add_hub_device()
{
	mkdir -p "$TMP/$hub"
	(umask 077 && echo "${PRIVATE[0]}" >"$TMP/$hub/wg0.key")
	recipe device
	[[ ${#DIAGNOSTICS[@]} -eq 0 ]] || bail_out "${DIAGNOSTICS[*]}"
	# The name that it has in topology.sh
	ip_hub link property add dev wg0 altname hub
}
