# SPDX-License-Identifier: GPL-2.0
#
# layout.awk VMLINUX WIREGUARD: read the BTF of both (bpftool btf dump file FILE format raw),
# write layout.h: where the private structs of wireguard.ko have the members that this folder
# uses. Fails if one has another type than this folder expects, or a function that it calls.

BEGIN {
	wanted = \
		"wg_device.dev: struct net_device *\n" \
		"wg_device.peer_hashtable: struct pubkey_hashtable *\n" \
		"wg_device.peer_allowedips: struct allowedips\n" \
		"wg_device.device_update_lock: struct mutex\n" \
		"wg_device.peer_list: struct list_head\n" \
		"wg_peer.device: struct wg_device *\n" \
		"wg_peer.keypairs: struct noise_keypairs\n" \
		"wg_peer.endpoint: struct endpoint\n" \
		"wg_peer.handshake: struct noise_handshake\n" \
		"wg_peer.refcount: struct kref\n" \
		"wg_peer.peer_list: struct list_head\n" \
		"noise_handshake.remote_static: u8[32]\n" \
		"noise_keypairs.current_keypair: struct noise_keypair *\n" \
		"noise_keypair.entry: struct index_hashtable_entry\n" \
		"noise_keypair.sending: struct noise_symmetric_key\n" \
		"noise_keypair.sending_counter: atomic64_t\n" \
		"noise_symmetric_key.birthdate: u64\n" \
		"noise_symmetric_key.is_valid: bool\n" \
		"index_hashtable_entry.peer: struct wg_peer *\n" \
		"endpoint.addr4: struct sockaddr_in\n" \
		"packet_cb.keypair: struct noise_keypair *\n" \
		"allowedips.root4: struct allowedips_node *\n" \
		"allowedips.root6: struct allowedips_node *\n" \
		"allowedips_node.peer: struct wg_peer *\n" \
		"allowedips_node.bit: struct allowedips_node *[2]\n" \
		"allowedips_node.cidr: u8\n" \
		"allowedips_node.bit_at_a: u8\n" \
		"allowedips_node.bit_at_b: u8\n" \
		"allowedips_node.bits: u8[16]"
	called = \
		"wg_allowedips_lookup_dst: struct wg_peer *(struct allowedips *, struct sk_buff *)\n" \
		"wg_allowedips_lookup_src: struct wg_peer *(struct allowedips *, struct sk_buff *)\n" \
		"wg_pubkey_hashtable_add: void(struct pubkey_hashtable *, struct wg_peer *)\n" \
		"wg_pubkey_hashtable_remove: void(struct pubkey_hashtable *, struct wg_peer *)\n" \
		"wg_pubkey_hashtable_lookup: struct wg_peer *(struct pubkey_hashtable *, u8 *)\n" \
		"wg_peer_put: void(struct wg_peer *)"
}

# The number behind "NAME=" on the line
function number(name) {
	return match($0, " " name "=[0-9]+") ? substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 2) : 0
}

# [1234] STRUCT 'wg_peer' size=1648 vlen=35
/^\[/ {
	id = $1
	gsub(/[][]/, "", id)
	kind[id] = $2
	split($0, quoted, "'")
	name[id] = quoted[2]
	type[id] = $2 == "FUNC_PROTO" ? number("ret_type_id") : number("type_id")
	length_of[id] = number("nr_elems")
	if (FNR != NR && ($2 == "STRUCT" || $2 == "FUNC") && !(($2, name[id]) in known)) {
		known[$2, name[id]] = id
		size[id] = number("size")
	}
	next
}

# 	'refcount' type_id=42 bits_offset=8576
FNR != NR && /^\t/ {
	n = ++members[id]
	member[id, n] = $1
	gsub(/'/, "", member[id, n])
	member_type[id, n] = number("type_id")
	offset[id, n] = number("bits_offset")
}

# A type as C has it, without qualifiers
function describe(id, i, text) {
	if (id == 0)
		return "void"
	if (kind[id] ~ /^(CONST|VOLATILE|RESTRICT|TYPE_TAG|FUNC)$/)
		return describe(type[id])
	if (kind[id] == "PTR") {
		text = describe(type[id])
		return text (text ~ /\*$/ ? "*" : " *")
	}
	if (kind[id] == "ARRAY")
		return describe(type[id]) "[" length_of[id] "]"
	if (kind[id] == "FUNC_PROTO") {
		for (i = 1; i <= members[id]; i++)
			text = text (i > 1 ? ", " : "") describe(member_type[id, i])
		return describe(type[id]) "(" text ")"
	}
	return (kind[id] ~ /^(STRUCT|UNION|ENUM)$/ ? tolower(kind[id]) " " : "") name[id]
}

# Find a member of a struct, also one of a struct or union in it without a name. Return its
# offset in bits, or -1; its type is in found.
function find(id, wanted, i, inner) {
	for (i = 1; i <= members[id]; i++) {
		found = member_type[id, i]
		if (member[id, i] == wanted)
			return offset[id, i]
		if (member[id, i] == "(anon)") {
			inner = find(found, wanted)
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

function expect(what, is, wanted) {
	if (is != wanted)
		fail(what " of wireguard.ko is '" is "' and not '" wanted "'")
}

END {
	if (failed)
		exit 1
	print "/* SPDX-License-Identifier: GPL-2.0 */"
	print "/* Made by layout.awk from the BTF of wireguard.ko */"
	n = split(called, lines, "\n")
	for (i = 1; i <= n; i++) {
		split(lines[i], word, ": ")
		if (!(("FUNC", word[1]) in known))
			fail("wireguard.ko has no function " word[1])
		expect("function " word[1], describe(known["FUNC", word[1]]), word[2])
	}
	n = split(wanted, lines, "\n")
	table = ""
	for (i = 1; i <= n; i++) {
		split(lines[i], word, /\.|: /)
		struct = word[1]
		if (!(("STRUCT", struct) in known))
			fail("wireguard.ko has no struct " struct)
		id = known["STRUCT", struct]
		at = find(id, word[2])
		if (at < 0 || at % 8)
			fail("struct " struct " has no member " word[2])
		expect("member " word[2] " of struct " struct, describe(found), word[3])
		if (!(struct in seen))
			table = table sprintf(" \\\n\tX(%s, , %d)", struct, size[id])
		seen[struct] = 1
		printf "#define WG_%s_%s %d\n", struct, word[2], at / 8
		table = table sprintf(" \\\n\tX(%s, %s, %d)", struct, word[2], at / 8)
	}
	print "/* Without a member: the size of the struct */"
	print "#define WG_LAYOUT(X)" table
}
