// SPDX-License-Identifier: GPL-2.0
/* The kind of the message under way. */

#include <linux/genetlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <linux/wgvia.h>

#include "netlink.h"

const char *const names[KINDS] = {
	"RTM_NEWROUTE", "RTM_DELROUTE", "RTM_GETROUTE", "RTM_GETROUTE-dump",
	"RTM_NEWNEXTHOP", "RTM_NEWNEXTHOP-resilient", "RTM_DELNEXTHOP", "RTM_GETNEXTHOP",
	"RTM_GETNEXTHOP-dump", "RTM_GETNEXTHOPBUCKET-dump",
	"DEVICE_GET", "DEVICE_SET", "DEVICE_GET-dump", "BINDING_GET-dump",
	"PEER_GET-dump",
	"DEFAULT_GET", "DEFAULT_SET", "RESOLVE", "other",
};

struct nlmsghdr head_of_message(void)
{
	struct nlmsghdr head;

	memcpy(&head, message, sizeof(head));
	return head;
}

/* The first attribute of the message is at `at`. Is there one that makes a group resilient? */
static bool is_resilient(size_t at)
{
	while (at + sizeof(struct nlattr) <= length) {
		struct nlattr attr;

		memcpy(&attr, message + at, sizeof(attr));
		if (attr.nla_len < sizeof(attr))
			return false;
		if (attr.nla_type == NHA_GROUP_TYPE)
			return message[at + sizeof(attr)] == NEXTHOP_GRP_TYPE_RES;
		at += NLA_ALIGN(attr.nla_len);
	}
	return false;
}

enum kind kind_of(enum protocol protocol)
{
	struct nlmsghdr head = head_of_message();
	int dump = head.nlmsg_flags & NLM_F_DUMP;

	if (protocol == WGVIA) {
		if (length < sizeof(head) + sizeof(struct genlmsghdr))
			return OTHER;
		dump = dump == NLM_F_DUMP;
		switch (message[sizeof(head)]) {
		case WGVIA_CMD_DEVICE_GET:
			return dump ? DUMP_DEVICES : DEVICE_GET;
		case WGVIA_CMD_DEVICE_SET:
			return dump ? OTHER : DEVICE_SET;
		case WGVIA_CMD_BINDING_GET:
			return dump ? DUMP_BINDINGS : OTHER;
		case WGVIA_CMD_PEER_GET:
			return dump ? DUMP_PEERS : OTHER;
		case WGVIA_CMD_DEFAULT_GET:
			return dump ? OTHER : DEFAULT_GET;
		case WGVIA_CMD_DEFAULT_SET:
			return dump ? OTHER : DEFAULT_SET;
		case WGVIA_CMD_RESOLVE:
			return dump ? OTHER : RESOLVE;
		}
		return OTHER;
	}
	switch (head.nlmsg_type) {
	case RTM_NEWROUTE:
		return NEWROUTE;
	case RTM_DELROUTE:
		return DELROUTE;
	case RTM_GETROUTE:
		return dump ? DUMP_ROUTES : GETROUTE;
	case RTM_NEWNEXTHOP:
		return is_resilient(sizeof(head) + sizeof(struct nhmsg)) ? NEWRESILIENT : NEWNEXTHOP;
	case RTM_DELNEXTHOP:
		return DELNEXTHOP;
	case RTM_GETNEXTHOP:
		return dump ? DUMP_NEXTHOPS : GETNEXTHOP;
	case RTM_GETNEXTHOPBUCKET:
		return dump ? DUMP_BUCKETS : OTHER;
	}
	return OTHER;
}
