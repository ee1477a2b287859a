# SPDX-License-Identifier: GPL-2.0
#
# layout.awk: read the BTF of wireguard.ko (bpftool btf dump file FILE format raw), write
# layout.h: where its private structs have the members that this folder uses.

BEGIN {
	wanted = "wg_device.dev wg_device.peer_hashtable wg_device.peer_allowedips" \
		" wg_device.device_update_lock wg_device.peer_list" \
		" wg_peer.device wg_peer.keypairs wg_peer.endpoint wg_peer.handshake" \
		" wg_peer.refcount wg_peer.peer_list" \
		" noise_handshake.remote_static noise_keypairs.current_keypair" \
		" noise_keypair.entry noise_keypair.sending noise_keypair.sending_counter" \
		" noise_symmetric_key.birthdate noise_symmetric_key.is_valid" \
		" index_hashtable_entry.peer endpoint.addr4 packet_cb.keypair" \
		" allowedips.root4 allowedips.root6 allowedips_node.peer allowedips_node.bit" \
		" allowedips_node.cidr allowedips_node.bit_at_a allowedips_node.bit_at_b" \
		" allowedips_node.bits"
}

# [1234] STRUCT 'wg_peer' size=1648 vlen=35
/^\[/ {
	id = $1
	gsub(/[][]/, "", id)
	kind = $2
	name = $3
	gsub(/'/, "", name)
	if (kind == "STRUCT" && !(name in known)) {
		known[name] = id
		size[name] = $4
		sub(/^size=/, "", size[name])
	}
	next
}

# 	'refcount' type_id=42 bits_offset=8576
(kind == "STRUCT" || kind == "UNION") && $3 ~ /^bits_offset=/ {
	n = ++members[id]
	member[id, n] = $1
	gsub(/'/, "", member[id, n])
	type[id, n] = $2
	sub(/^type_id=/, "", type[id, n])
	offset[id, n] = $3
	sub(/^bits_offset=/, "", offset[id, n])
}

# The offset in bits of a member, also one of a struct or union without a name; or -1.
function find(id, name, i, inner) {
	for (i = 1; i <= members[id]; i++) {
		if (member[id, i] == name)
			return offset[id, i]
		if (member[id, i] == "(anon)") {
			inner = find(type[id, i], name)
			if (inner >= 0)
				return offset[id, i] + inner
		}
	}
	return -1
}

function fail(text) {
	print "layout.awk: " text > "/dev/stderr"
	failed = 1
	exit 1
}

END {
	if (failed)
		exit 1
	print "/* SPDX-License-Identifier: GPL-2.0 */"
	print "/* Made by layout.awk from the BTF of wireguard.ko */"
	n = split(wanted, words, " ")
	table = ""
	for (i = 1; i <= n; i++) {
		split(words[i], word, ".")
		struct = word[1]
		if (!(struct in known))
			fail("wireguard.ko has no struct " struct)
		at = find(known[struct], word[2])
		if (at < 0 || at % 8)
			fail("struct " struct " has no member " word[2])
		if (!(struct in seen))
			table = table sprintf(" \\\n\tX(%s, , %d)", struct, size[struct])
		seen[struct] = 1
		printf "#define WG_%s_%s %d\n", struct, word[2], at / 8
		table = table sprintf(" \\\n\tX(%s, %s, %d)", struct, word[2], at / 8)
	}
	print "/* Without a member: the size of the struct */"
	print "#define WG_LAYOUT(X)" table
}
