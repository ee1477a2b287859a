// SPDX-License-Identifier: GPL-2.0
/*
 * Send netlink messages that are nearly right.
 *
 *	fuzz COUNT SEED HUB OTHER CORPUS [KEPT]
 *
 * Routes, nexthop objects and the generic netlink family of wgvia, for the
 * WireGuard device HUB and the device OTHER, which is of another kind. Every value
 * is taken from a small pool, so that messages refer to what earlier ones made;
 * then one message in two is damaged, and one in three is a damaged copy of one in
 * the file CORPUS, which are sent first, as they are.
 *
 * With the file KEPT, messages are kept there for other runs, and used like those
 * of CORPUS. Where the kernel has KCOV, they are those that reach code which none
 * has reached before, elsewhere those that succeed and whose attributes no other
 * had in that order.
 *
 * The same seed gives the same messages, without KEPT.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/kcov.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/wgvia.h>
#include <linux/wgvia_rta.h>

#include "fuzz.h"

#define LWTUNNEL_ENCAP_WGPEER 64

/* --- attributes ---------------------------------------------------------- */

static uint32_t devices[4];

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

static void attr(uint16_t type, const void *data, size_t len)
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
	uint16_t type = one_in(8) ? below(70) : LWTUNNEL_ENCAP_WGPEER;
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

/* What becomes of a packet, mostly one whose addresses are of one family. */
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
		genl.cmd = one_in(3) ? WGVIA_CMD_DROPS_GET : WGVIA_CMD_BINDING_GET;
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
			    genl.cmd == WGVIA_CMD_DROPS_GET) && one_in(2)))
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

static void damage(size_t start)
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

/*
 * What a message asks for, as it is sent, and what counts it. Of "other" none can
 * succeed; of all others some have to.
 */
enum kind {
	NEWROUTE, DELROUTE, GETROUTE, DUMP_ROUTES,
	NEWNEXTHOP, NEWRESILIENT, DELNEXTHOP, GETNEXTHOP, DUMP_NEXTHOPS, DUMP_BUCKETS,
	DEVICE_GET, DEVICE_SET, DUMP_DEVICES, DUMP_BINDINGS, DUMP_DROPS,
	DEFAULT_GET, DEFAULT_SET, RESOLVE, OTHER,
	KINDS
};

static const char *const names[KINDS] = {
	"RTM_NEWROUTE", "RTM_DELROUTE", "RTM_GETROUTE", "RTM_GETROUTE-dump",
	"RTM_NEWNEXTHOP", "RTM_NEWNEXTHOP-resilient", "RTM_DELNEXTHOP", "RTM_GETNEXTHOP",
	"RTM_GETNEXTHOP-dump", "RTM_GETNEXTHOPBUCKET-dump",
	"DEVICE_GET", "DEVICE_SET", "DEVICE_GET-dump", "BINDING_GET-dump",
	"DROPS_GET-dump",
	"DEFAULT_GET", "DEFAULT_SET", "RESOLVE", "other",
};

struct tally {
	unsigned long sent, succeeded;
};

/* Of those that are made here, and of copies of others: those would succeed anyway. */
static struct tally made[KINDS], copies;

enum protocol { ROUTE, WGVIA };

/* By protocol, and one for routes whose questions are checked strictly. */
static int fds[2], strict_fd;
static uint16_t wgvia;

static struct nlmsghdr head_of_message(void)
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

static enum kind kind_of(enum protocol protocol)
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
		case WGVIA_CMD_DROPS_GET:
			return dump ? DUMP_DROPS : OTHER;
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

/* The header of the message, whatever damage there is. */
static void finish(struct nlmsghdr head, enum protocol protocol)
{
	static uint32_t seq;

	/* The family gets another number with each boot. */
	if (protocol == WGVIA)
		head.nlmsg_type = wgvia;
	head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	head.nlmsg_len = length;
	head.nlmsg_seq = ++seq;
	head.nlmsg_pid = 0;
	memcpy(message, &head, sizeof(head));
}

static enum protocol make(void)
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

static int open_netlink(int protocol)
{
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		die("netlink socket");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	return fd;
}

/*
 * Reads all answers; a dump goes on as they are read. Has the message that was sent
 * last succeeded? A dump that says nothing has not.
 */
static bool drain(int fd, bool dump)
{
	static unsigned char buffer[1 << 16];
	uint32_t seq = head_of_message().nlmsg_seq;
	bool succeeded = false;
	unsigned int answers = 0;
	ssize_t len;

	while ((len = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 || errno == ENOBUFS) {
		struct nlmsghdr *head;

		if (len <= 0)
			continue;
		for (head = (void *)buffer; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
			if (head->nlmsg_seq != seq)
				continue;
			if (head->nlmsg_type != NLMSG_ERROR && head->nlmsg_type != NLMSG_DONE)
				answers++;
			else if (!*(int *)NLMSG_DATA(head))
				succeeded = answers || !dump;
		}
	}
	return succeeded;
}

static uint16_t family_id(int fd)
{
	struct {
		struct nlmsghdr head;
		struct genlmsghdr genl;
		unsigned char attrs[4096];
	} answer;
	struct nlmsghdr head = { .nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST };
	struct genlmsghdr genl = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct nlattr *a;
	ssize_t len;

	length = sizeof(head);
	put(&genl, sizeof(genl));
	attr(CTRL_ATTR_FAMILY_NAME, "wgvia", sizeof("wgvia"));
	head.nlmsg_len = length;
	memcpy(message, &head, sizeof(head));
	if (send(fd, message, length, 0) < 0)
		die("CTRL_CMD_GETFAMILY");
	len = recv(fd, &answer, sizeof(answer), 0) - sizeof(answer.head) - sizeof(answer.genl);
	for (a = (void *)answer.attrs; len >= (ssize_t)sizeof(*a) && a->nla_len >= sizeof(*a);
	     len -= NLA_ALIGN(a->nla_len), a = (void *)((char *)a + NLA_ALIGN(a->nla_len)))
		if (a->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)(a + 1);
	fprintf(stderr, "no family wgvia\n");
	exit(1);
}

/* --- coverage ------------------------------------------------------------ */

#define COVER_LEN (1 << 16)
#define PLACES (1 << 22)
static uint64_t *cover;
static unsigned char seen[PLACES / 8];
static unsigned long places;

static void cover_open(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (ioctl(fd, KCOV_INIT_TRACE, COVER_LEN))
		die("KCOV_INIT_TRACE");
	cover = mmap(NULL, COVER_LEN * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED)
		die("kcov");
	if (ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		die("KCOV_ENABLE");
}

static void cover_start(void)
{
	if (cover)
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
}

/* How many places were reached for the first time; two may be taken for one. */
static unsigned int cover_end(void)
{
	uint64_t i, n = cover ? __atomic_load_n(&cover[0], __ATOMIC_RELAXED) : 0;
	unsigned int found = 0;

	for (i = 1; i <= n; i++) {
		uint32_t place = (cover[i] * 0x9e3779b97f4a7c15ULL) >> 42;

		if (seen[place / 8] & 1 << place % 8)
			continue;
		seen[place / 8] |= 1 << place % 8;
		found++;
	}
	places += found;
	return found;
}

/* --- messages that are kept ---------------------------------------------- */

#define CORPUS_LEN 8192
#define SHAPES (1 << 20)

struct kept {
	enum protocol protocol;
	uint32_t length;
	unsigned char *message;
};

static struct kept corpus[CORPUS_LEN];
static uint32_t corpus_len;
static FILE *kept_file;
static unsigned char shapes[SHAPES / 8];

static void keep(enum protocol protocol)
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

/*
 * Each line is a message: "route" or "wgvia", and what it is in hexadecimal digits. The last one
 * of KEPT may be half a line, if the guest died when it was written.
 */
static void load(FILE *file, const char *name, bool whole)
{
	static char line[3 * SPACE];
	char *digits;

	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
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
		keep(strncmp(line, "route", 5) ? WGVIA : ROUTE);
	}
}

static void load_corpus(const char *name)
{
	FILE *file = fopen(name, "r");

	if (!file)
		die(name);
	load(file, name, true);
	fclose(file);
}

static void write_down(enum protocol protocol)
{
	size_t i;

	fprintf(kept_file, "\n# %s\n%s ", names[kind_of(protocol)],
		protocol == ROUTE ? "route" : "wgvia");
	for (i = 0; i < length; i++)
		fprintf(kept_file, "%02x", message[i]);
	fputc('\n', kept_file);
	/* It is there even if the guest dies of what follows. */
	fflush(kept_file);
}

/* Is the message the first with these flags, family and attributes? */
static bool has_new_shape(enum protocol protocol)
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
static enum protocol make_again(const struct kept *kept, bool damaged)
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

/* --- the run ------------------------------------------------------------- */

static bool succeeded, is_new;

static void send_message(int fd, enum protocol protocol)
{
	cover_start();
	if (send(fd, message, length, 0) < 0 && errno != ENOBUFS)
		die("send");
	succeeded = drain(fd, strstr(names[kind_of(protocol)], "-dump"));
	is_new = cover_end();
	if (!cover)
		is_new = kept_file && succeeded && has_new_shape(protocol);
}

static void replay_one(const struct kept *kept)
{
	enum protocol protocol = make_again(kept, false);

	send_message(fds[protocol], protocol);
}

/* All of CORPUS, in its order, then KEPT. */
static void replay(const char *name, const char *kept_name)
{
	uint32_t loaded, k, done = 0;

	load_corpus(name);
	for (k = 0; k < corpus_len; k++) {
		replay_one(&corpus[k]);
		if (!succeeded)
			printf("# message %u of the corpus fails\n", k + 1);
		done += succeeded;
	}
	printf("# corpus: %u messages, %u succeeded\n", corpus_len, done);
	if (!kept_name)
		return;

	kept_file = fopen(kept_name, "a+");
	if (!kept_file)
		die(kept_name);
	rewind(kept_file);
	load(kept_file, kept_name, false);
	/* Those that reach nothing new any more are left out this time. */
	loaded = corpus_len;
	corpus_len = k;
	for (; k < loaded; k++) {
		replay_one(&corpus[k]);
		if (is_new || !cover)
			corpus[corpus_len++] = corpus[k];
	}
}

static void fuzz(unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		bool copy = corpus_len && one_in(3);
		enum protocol protocol = copy ? make_again(&corpus[below(corpus_len)], true) : make();
		bool strict = protocol == ROUTE && one_in(2);
		struct tally *tally = copy ? &copies : &made[kind_of(protocol)];

		send_message(strict ? strict_fd : fds[protocol], protocol);
		tally->sent++;
		tally->succeeded += succeeded;
		if (!is_new)
			continue;
		keep(protocol);
		if (kept_file)
			write_down(protocol);
	}
}

int main(int argc, char **argv)
{
	int kind;

	if (argc < 6) {
		fprintf(stderr, "usage: fuzz COUNT SEED HUB OTHER CORPUS [KEPT]\n");
		return 2;
	}
	seed(argv[2]);
	fds[ROUTE] = open_netlink(NETLINK_ROUTE);
	fds[WGVIA] = open_netlink(NETLINK_GENERIC);
	strict_fd = open_netlink(NETLINK_ROUTE);
	if (setsockopt(strict_fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &(int){ 1 }, sizeof(int)))
		die("NETLINK_GET_STRICT_CHK");
	wgvia = family_id(fds[WGVIA]);
	devices[0] = if_nametoindex(argv[3]);
	devices[1] = if_nametoindex(argv[4]);
	devices[2] = if_nametoindex("lo");
	devices[3] = 9999;
	cover_open();
	replay(argv[5], argv[6]);
	fuzz(strtoul(argv[1], NULL, 0));
	if (kept_file && fclose(kept_file))
		die("KEPT");
	if (cover)
		printf("# coverage: %lu places, %u messages kept\n", places, corpus_len);
	for (kind = 0; kind < KINDS; kind++)
		printf("# %s: %lu sent, %lu succeeded\n", names[kind], made[kind].sent,
		       made[kind].succeeded);
	printf("# copies: %lu sent, %lu succeeded\n", copies.sent, copies.succeeded);
	return 0;
}
