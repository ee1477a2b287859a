// SPDX-License-Identifier: GPL-2.0
/* Make messages that are nearly right: each value from a small pool, then damage. */

#include <linux/genetlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <linux/wgvia.h>
#include <linux/wgvia_rta.h>

#include "netlink.h"

uint16_t wgvia, encap_wgpeer;

/* --- attributes ---------------------------------------------------------- */

uint32_t devices[4];

static size_t nest_start(uint16_t type)
{
	struct nlattr attr = { .nla_len = sizeof(attr), .nla_type = type };
	size_t start = length;

	put(&attr, sizeof(attr));
	return start;
}

static void nest_end(size_t start)
{
	uint16_t len = length - start;

	memcpy(message + start, &len, sizeof(len));
}

void attr(uint16_t type, const void *data, size_t len)
{
	struct nlattr head = { .nla_len = sizeof(head) + len, .nla_type = type };

	put(&head, sizeof(head));
	put(data, len);
}

static void attr_u32(uint16_t type, uint32_t value)
{
	attr(type, &value, sizeof(value));
}

static void attr_u8(uint16_t type, uint8_t value)
{
	attr(type, &value, sizeof(value));
}

static void attr_u16(uint16_t type, uint16_t value)
{
	attr(type, &value, sizeof(value));
}

/* The keys 1 and 2 are of peers that the device has, see fuzz.sh. */
static void put_key(uint16_t type)
{
	static const uint16_t lengths[] = { 0, 1, 31, 33, 64, 4096 };
	static unsigned char key[4096];
	size_t len = RTA_WGPEER_LEN;

	memset(key, below(12), RTA_WGPEER_LEN);
	if (one_in(20))
		len = pick(lengths);
	attr(type | (one_in(40) ? NLA_F_NESTED : 0), key, len);
}

static uint32_t device(void)
{
	return one_in(8) ? pick(devices) : devices[0];
}

static void put_address(uint16_t type, int family)
{
	unsigned char addr[16] = { 0 };

	if (family == AF_INET6) {
		addr[0] = 0xfd;
		addr[15] = below(4);
	} else {
		addr[0] = 10;
		addr[3] = below(4);
	}
	attr(type, addr, family == AF_INET6 ? 16 : 4);
}

static void put_encap(uint16_t type_attr, uint16_t encap_attr)
{
	uint16_t type = one_in(8) ? below(70) : encap_wgpeer;
	size_t start;

	if (!one_in(16))
		attr_u16(type_attr, type);
	if (one_in(16))
		return;
	start = nest_start(encap_attr | NLA_F_NESTED);
	do {
		if (one_in(12))
			attr_u32(below(8), rnd());
		else
			put_key(RTA_WGPEER);
	} while (one_in(10));
	nest_end(start);
}

static void put_hops(int family)
{
	size_t nest = nest_start(RTA_MULTIPATH);
	int count = 1 + below(4);

	while (count--) {
		struct rtnexthop hop = { .rtnh_hops = one_in(8) ? below(256) : 0,
					 .rtnh_ifindex = device() };
		size_t start = length;

		put(&hop, sizeof(hop));
		if (!one_in(4))
			put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
		if (one_in(4))
			put_address(RTA_GATEWAY, family);
		hop.rtnh_len = length - start + (one_in(30) ? below(16) : 0);
		memcpy(message + start, &hop, sizeof(hop));
	}
	nest_end(nest);
}

/* --- messages ------------------------------------------------------------ */

static void put_route(void)
{
	static const unsigned char types[] = { RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE,
					       RTN_UNREACHABLE, RTN_MULTICAST, 99 };
	struct rtmsg rtm = {
		.rtm_family = one_in(2) ? AF_INET : AF_INET6,
		.rtm_table = one_in(10) ? below(256) : RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = one_in(4) ? below(256) : RT_SCOPE_UNIVERSE,
		.rtm_type = one_in(10) ? pick(types) : RTN_UNICAST,
	};
	unsigned char dst[16] = { 0 };

	if (rtm.rtm_family == AF_INET) {
		if (!one_in(4))
			rtm.rtm_scope = RT_SCOPE_LINK;
		rtm.rtm_dst_len = 16;
		dst[0] = 10;
	} else {
		rtm.rtm_dst_len = 48;
		dst[0] = 0xfd;
	}
	dst[1] = 16 + below(16);
	if (one_in(20))
		rtm.rtm_dst_len = rnd();
	if (one_in(30))
		rtm.rtm_family = rnd();
	put(&rtm, sizeof(rtm));
	attr(RTA_DST, dst, rtm.rtm_family == AF_INET6 ? 16 : 4);
	if (!one_in(6))
		attr_u32(RTA_OIF, device());
	if (!one_in(4))
		put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
	if (one_in(6))
		put_address(RTA_GATEWAY, rtm.rtm_family);
	if (one_in(4))
		put_hops(rtm.rtm_family);
	if (one_in(8))
		attr_u32(RTA_NH_ID, 1 + below(8));
	if (one_in(4))
		attr_u32(RTA_PRIORITY, below(4));
	if (one_in(30))
		put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
}

/* For RTM_GETROUTE: the one route that a packet takes, or that matches it best. */
static void put_lookup(void)
{
	struct rtmsg rtm = {
		.rtm_family = one_in(2) ? AF_INET : AF_INET6,
		.rtm_flags = one_in(2) ? RTM_F_FIB_MATCH : one_in(4) ? RTM_F_LOOKUP_TABLE : 0,
	};
	unsigned char dst[16] = { 10, 16 + below(16) };

	if (rtm.rtm_family == AF_INET6)
		dst[0] = 0xfd;
	rtm.rtm_dst_len = rtm.rtm_family == AF_INET6 ? 128 : 32;
	put(&rtm, sizeof(rtm));
	attr(RTA_DST, dst, rtm.rtm_family == AF_INET6 ? 16 : 4);
	if (one_in(2))
		attr_u32(RTA_OIF, device());
	if (one_in(8))
		put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
}

static void put_resilience(void)
{
	uint16_t type = one_in(16) ? below(4) : NEXTHOP_GRP_TYPE_RES;
	size_t nest;

	attr_u16(NHA_GROUP_TYPE, type);
	nest = nest_start(NHA_RES_GROUP | NLA_F_NESTED);
	if (!one_in(4))
		attr_u16(NHA_RES_GROUP_BUCKETS, one_in(12) ? below(1024) : 4U << below(4));
	if (one_in(4))
		attr_u32(NHA_RES_GROUP_IDLE_TIMER, one_in(4) ? rnd() : 0);
	if (one_in(4))
		attr_u32(NHA_RES_GROUP_UNBALANCED_TIMER, one_in(4) ? rnd() : below(3));
	nest_end(nest);
}

/*
 * Of the ids 1 to 8 the first four are mostly of nexthops, then come two of groups and
 * two of resilient groups: one can't be replaced by another, and only nexthops are members.
 */
static uint32_t nexthop_id(uint32_t first, uint32_t count)
{
	return one_in(8) ? 1 + below(8) : first + below(count);
}

static void put_group(bool resilient)
{
	struct nexthop_grp group[4] = { 0 };
	uint32_t i, count = 1 + below(4), first = below(4);

	attr_u32(NHA_ID, nexthop_id(resilient ? 7 : 5, 2));
	for (i = 0; i < count; i++) {
		/* None may come twice. */
		group[i].id = one_in(12) ? 1 + below(8) : 1 + (first + i) % 4;
		group[i].weight = one_in(8) ? below(256) : 0;
	}
	attr(NHA_GROUP, group, count * sizeof(group[0]));
	if (resilient)
		put_resilience();
}

static void put_new_nexthop(void)
{
	struct nhmsg nhm = {
		.nh_family = one_in(2) ? AF_INET : AF_INET6,
		.nh_protocol = RTPROT_BOOT,
	};

	if (one_in(4))
		nhm.nh_family = AF_UNSPEC;
	if (one_in(20))
		nhm.nh_family = rnd();
	put(&nhm, sizeof(nhm));
	if (nhm.nh_family == AF_UNSPEC) {
		put_group(one_in(2));
		return;
	}
	attr_u32(NHA_ID, nexthop_id(1, 4));
	if (!one_in(10))
		attr_u32(NHA_OIF, device());
	if (one_in(5))
		put_address(NHA_GATEWAY, nhm.nh_family);
	put_encap(NHA_ENCAP_TYPE, NHA_ENCAP);
	if (one_in(30))
		attr(NHA_BLACKHOLE, NULL, 0);
}

/* To delete or to show one, seldom with more than its id. */
static void put_old_nexthop(void)
{
	struct nhmsg nhm = { 0 };

	put(&nhm, sizeof(nhm));
	attr_u32(NHA_ID, 1 + below(8));
	if (one_in(10))
		put_group(one_in(2));
}

/* The fate of a packet, mostly one whose addresses are of one family. */
static void put_question(void)
{
	int family = one_in(2) ? AF_INET : AF_INET6;

	if (!one_in(20))
		put_address(WGVIA_A_RESOLVE_DESTINATION, family);
	if (!one_in(3))
		put_address(WGVIA_A_RESOLVE_SOURCE, one_in(20) ? AF_INET : family);
	if (one_in(3))
		put_key(WGVIA_A_RESOLVE_FROM);
	if (one_in(4))
		attr_u32(WGVIA_A_RESOLVE_MARK, rnd());
	if (one_in(4))
		attr_u8(WGVIA_A_RESOLVE_DSCP, below(one_in(8) ? 256 : 64));
	if (one_in(4))
		attr_u16(WGVIA_A_RESOLVE_SPORT, rnd());
	if (one_in(4))
		attr_u16(WGVIA_A_RESOLVE_DPORT, rnd());
	if (one_in(4))
		attr_u32(WGVIA_A_RESOLVE_OIF, device());
	if (one_in(4))
		attr(WGVIA_A_RESOLVE_UNROUTED, NULL, 0);
}

/* Mostly the attributes that the command has: none, the device, mode, filter and multicast, or a
 * packet. Defaults are for devices to come, of which there are none.
 */
static void put_genl(bool dump)
{
	struct genlmsghdr genl = { .cmd = one_in(10) ? below(256) : 1 + below(2), .version = 1 };
	bool set = false;
	int i;

	if (one_in(3))
		genl.cmd = WGVIA_CMD_RESOLVE;
	if (dump && one_in(2))
		genl.cmd = one_in(3) ? WGVIA_CMD_PEER_GET : WGVIA_CMD_BINDING_GET;
	else if (!dump && one_in(6))
		genl.cmd = one_in(4) ? WGVIA_CMD_DEFAULT_GET : WGVIA_CMD_DEFAULT_SET;
	put(&genl, sizeof(genl));
	if (genl.cmd == WGVIA_CMD_DEFAULT_SET)
		set = true;
	else if (genl.cmd == WGVIA_CMD_DEFAULT_GET)
		;
	else if (!dump && one_in(2))
		attr(WGVIA_A_DEVICE_IFNAME, "hub\0x", one_in(8) ? below(6) : 4);
	else if (!dump || ((genl.cmd == WGVIA_CMD_BINDING_GET ||
			    genl.cmd == WGVIA_CMD_PEER_GET) && one_in(2)))
		attr_u32(WGVIA_A_DEVICE_IFINDEX, device());
	set = set || genl.cmd == WGVIA_CMD_DEVICE_SET;
	if (set && !one_in(3))
		attr_u32(WGVIA_A_DEVICE_MODE, below(one_in(8) ? 5 : 3));
	if (set && !one_in(3))
		attr_u32(WGVIA_A_DEVICE_FILTER, below(one_in(8) ? 6 : 4));
	if (set && one_in(3))
		attr_u8(WGVIA_A_DEVICE_MULTICAST, below(one_in(8) ? 4 : 2));
	if (genl.cmd == WGVIA_CMD_RESOLVE)
		put_question();
	for (i = (int)below(8) - 5; i > 0; i--)
		attr_u32(one_in(2) ? rnd() : below(8), rnd());
}

void damage(size_t start)
{
	int times = 1 + below(3);
	uint16_t value;

	while (times--) {
		size_t at = start + below(length - start);

		switch (below(4)) {
		case 0:
			message[at] ^= 1 << below(8);
			break;
		case 1:
			message[at] = rnd();
			break;
		case 2:
			/* Where lengths and types are. */
			at &= ~3UL;
			value = message[at] + below(9) - 4;
			memcpy(message + at, &value, sizeof(value));
			break;
		case 3:
			if (length > start + 4 && one_in(3))
				length = start + below(length - start) / 4 * 4 + 4;
			break;
		}
	}
}

/* The header of the message, whatever damage there is. */
void finish(struct nlmsghdr head, enum protocol protocol)
{
	static uint32_t seq;

	if (protocol == WGVIA)
		head.nlmsg_type = wgvia;
	head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	head.nlmsg_len = length;
	head.nlmsg_seq = ++seq;
	head.nlmsg_pid = 0;
	memcpy(message, &head, sizeof(head));
}

enum protocol make(void)
{
	static const uint16_t flags[] = {
		NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_REPLACE,
		NLM_F_CREATE | NLM_F_APPEND, NLM_F_REPLACE, NLM_F_CREATE,
	};
	/* Dumps are seldom: each is long. */
	static const uint16_t types[] = {
		RTM_NEWROUTE, RTM_NEWROUTE, RTM_NEWROUTE, RTM_NEWROUTE, RTM_NEWROUTE,
		RTM_DELROUTE, RTM_DELROUTE, RTM_DELROUTE,
		RTM_NEWNEXTHOP, RTM_NEWNEXTHOP, RTM_NEWNEXTHOP, RTM_DELNEXTHOP,
		RTM_GETROUTE, RTM_GETNEXTHOP, RTM_GETNEXTHOPBUCKET, 0, 0, 0,
	};
	struct nlmsghdr head = { .nlmsg_type = pick(types) };

	length = sizeof(head);
	switch (head.nlmsg_type) {
	case RTM_NEWROUTE:
		head.nlmsg_flags = pick(flags);
		put_route();
		break;
	case RTM_DELROUTE:
		put_route();
		break;
	case RTM_GETROUTE:
		head.nlmsg_flags = one_in(2) ? NLM_F_DUMP : 0;
		if (head.nlmsg_flags)
			put_route();
		else
			put_lookup();
		break;
	case RTM_NEWNEXTHOP:
		head.nlmsg_flags = pick(flags);
		put_new_nexthop();
		break;
	case RTM_DELNEXTHOP:
		put_old_nexthop();
		break;
	case RTM_GETNEXTHOP:
	case RTM_GETNEXTHOPBUCKET:
		head.nlmsg_flags = NLM_F_DUMP;
		if (head.nlmsg_type == RTM_GETNEXTHOP && one_in(2))
			head.nlmsg_flags = 0;
		if (!head.nlmsg_flags || one_in(4))
			put_old_nexthop();
		else
			put(&(struct nhmsg){ 0 }, sizeof(struct nhmsg));
		break;
	default:
		head.nlmsg_flags = one_in(3) ? NLM_F_DUMP : 0;
		put_genl(head.nlmsg_flags);
	}
	if (one_in(2))
		damage(sizeof(head));
	finish(head, head.nlmsg_type ? ROUTE : WGVIA);
	return head.nlmsg_type ? ROUTE : WGVIA;
}
