// SPDX-License-Identifier: GPL-2.0
/* Messages that are kept, and used again. */

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include "netlink.h"

#define SHAPES (1 << 20)

struct kept corpus[CORPUS_LEN];
uint32_t corpus_len;
static unsigned char shapes[SHAPES / 8];

void keep(enum protocol protocol)
{
	struct kept *kept = &corpus[corpus_len];

	if (corpus_len == CORPUS_LEN)
		return;
	kept->message = malloc(length);
	if (!kept->message)
		die("malloc");
	kept->protocol = protocol;
	kept->length = length;
	memcpy(kept->message, message, length);
	corpus_len++;
}

/* Has routes of the message name peers in the type that does so here. */
static void take_encap_type(void)
{
	uint16_t want[] = { NLA_HDRLEN + sizeof(*want), RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_WGPEER };
	size_t at;

	for (at = sizeof(struct nlmsghdr); at + sizeof(want) <= length; at += NLA_ALIGNTO) {
		memcpy(&want[1], message + at + sizeof(*want), sizeof(*want));
		if ((want[1] == RTA_ENCAP_TYPE || want[1] == NHA_ENCAP_TYPE) &&
		    !memcmp(message + at, want, sizeof(want)))
			memcpy(message + at + NLA_HDRLEN, &encap_wgpeer, sizeof(encap_wgpeer));
	}
}

/*
 * Each line is a message: "route" or "wgvia", and what it is in hexadecimal digits. The last one
 * of KEPT may be half a line, if the guest died when it was written. One behind "patched" is left
 * out on a kernel without the patches.
 */
void load(FILE *file, const char *name, bool whole)
{
	static char line[3 * SPACE];
	char *digits;

	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!strncmp(line, "patched ", 8)) {
			if (encap_wgpeer != LWTUNNEL_ENCAP_WGPEER)
				continue;
			memmove(line, line + 8, strlen(line + 8) + 1);
		}
		digits = strchr(line, ' ');
		for (length = 0; digits && length < SPACE; length++)
			if (sscanf(digits + 1 + 2 * length, "%2hhx", &message[length]) != 1)
				break;
		if (length < sizeof(struct nlmsghdr)) {
			if (!whole)
				continue;
			fprintf(stderr, "%s: not a message: %s", name, line);
			exit(1);
		}
		if (encap_wgpeer != LWTUNNEL_ENCAP_WGPEER)
			take_encap_type();
		keep(strncmp(line, "route", 5) ? WGVIA : ROUTE);
	}
}

void write_down(FILE *file, enum protocol protocol)
{
	size_t i;

	fprintf(file, "\n# %s\n%s ", names[kind_of(protocol)],
		protocol == ROUTE ? "route" : "wgvia");
	for (i = 0; i < length; i++)
		fprintf(file, "%02x", message[i]);
	fputc('\n', file);
	/* It is there even if the guest dies of what follows. */
	fflush(file);
}

/* Is the message the first with these flags, family and attributes? */
bool has_new_shape(enum protocol protocol)
{
	struct nlmsghdr head = head_of_message();
	uint32_t shape = kind_of(protocol) << 24 ^ head.nlmsg_flags;
	size_t at = sizeof(head) + 4;
	bool new;

	if (protocol == ROUTE) {
		shape ^= message[sizeof(head)] << 16;
		at = sizeof(head) + (head.nlmsg_type >= RTM_NEWNEXTHOP ? sizeof(struct nhmsg) :
				     sizeof(struct rtmsg));
	}
	while (at + sizeof(struct nlattr) <= length) {
		struct nlattr attr;

		memcpy(&attr, message + at, sizeof(attr));
		if (attr.nla_len < sizeof(attr))
			break;
		shape = (shape ^ attr.nla_type) * 0x9e3779b1;
		at += NLA_ALIGN(attr.nla_len);
	}
	shape >>= 12;
	new = !(shapes[shape / 8] & 1 << shape % 8);
	shapes[shape / 8] |= 1 << shape % 8;
	return new;
}

/* A message that was kept, damaged or as it was. */
enum protocol make_again(const struct kept *kept, bool damaged)
{
	struct nlmsghdr head;

	memcpy(message, kept->message, kept->length);
	length = kept->length;
	head = head_of_message();
	if (damaged) {
		damage(one_in(4) ? offsetof(struct nlmsghdr, nlmsg_flags) : sizeof(head));
		head.nlmsg_flags = head_of_message().nlmsg_flags;
	}
	finish(head, kept->protocol);
	return kept->protocol;
}
