// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	netlink/specs/wgvia.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: scripts/gen-uapi */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "wgvia.h"

#include <uapi/linux/wgvia.h>

/* WGVIA_CMD_DEVICE_GET - do */
static const struct nla_policy wgvia_device_get_nl_policy[WGVIA_A_DEVICE_IFNAME + 1] = {
	[WGVIA_A_DEVICE_IFINDEX] = { .type = NLA_U32, },
	[WGVIA_A_DEVICE_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
};

/* WGVIA_CMD_DEVICE_SET - do */
static const struct nla_policy wgvia_device_set_nl_policy[WGVIA_A_DEVICE_MULTICAST + 1] = {
	[WGVIA_A_DEVICE_IFINDEX] = { .type = NLA_U32, },
	[WGVIA_A_DEVICE_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[WGVIA_A_DEVICE_MODE] = NLA_POLICY_MAX(NLA_U32, 2),
	[WGVIA_A_DEVICE_FILTER] = NLA_POLICY_MAX(NLA_U32, 3),
	[WGVIA_A_DEVICE_MULTICAST] = NLA_POLICY_MAX(NLA_U8, 1),
};

/* WGVIA_CMD_BINDING_GET - dump */
static const struct nla_policy wgvia_binding_get_nl_policy[WGVIA_A_BINDING_IFINDEX + 1] = {
	[WGVIA_A_BINDING_IFINDEX] = { .type = NLA_U32, },
};

/* WGVIA_CMD_DEFAULT_SET - do */
static const struct nla_policy wgvia_default_set_nl_policy[WGVIA_A_DEVICE_MULTICAST + 1] = {
	[WGVIA_A_DEVICE_MODE] = NLA_POLICY_MAX(NLA_U32, 2),
	[WGVIA_A_DEVICE_FILTER] = NLA_POLICY_MAX(NLA_U32, 3),
	[WGVIA_A_DEVICE_MULTICAST] = NLA_POLICY_MAX(NLA_U8, 1),
};

/* WGVIA_CMD_RESOLVE - do */
static const struct nla_policy wgvia_resolve_nl_policy[WGVIA_A_RESOLVE_FROM + 1] = {
	[WGVIA_A_RESOLVE_IFINDEX] = { .type = NLA_U32, },
	[WGVIA_A_RESOLVE_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[WGVIA_A_RESOLVE_DESTINATION] = NLA_POLICY_MAX_LEN(16),
	[WGVIA_A_RESOLVE_SOURCE] = NLA_POLICY_MAX_LEN(16),
	[WGVIA_A_RESOLVE_MARK] = { .type = NLA_U32, },
	[WGVIA_A_RESOLVE_DSCP] = NLA_POLICY_MAX(NLA_U8, 63),
	[WGVIA_A_RESOLVE_SPORT] = { .type = NLA_U16, },
	[WGVIA_A_RESOLVE_DPORT] = { .type = NLA_U16, },
	[WGVIA_A_RESOLVE_OIF] = { .type = NLA_U32, },
	[WGVIA_A_RESOLVE_UNROUTED] = { .type = NLA_FLAG, },
	[WGVIA_A_RESOLVE_FROM] = NLA_POLICY_EXACT_LEN(WGVIA_KEY_LEN),
};

/* WGVIA_CMD_PEER_GET - dump */
static const struct nla_policy wgvia_peer_get_nl_policy[WGVIA_A_PEER_IFINDEX + 1] = {
	[WGVIA_A_PEER_IFINDEX] = { .type = NLA_U32, },
};

/* Ops table for wgvia */
static const struct genl_split_ops wgvia_nl_ops[] = {
	{
		.cmd		= WGVIA_CMD_DEVICE_GET,
		.doit		= wgvia_nl_device_get_doit,
		.policy		= wgvia_device_get_nl_policy,
		.maxattr	= WGVIA_A_DEVICE_IFNAME,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= WGVIA_CMD_DEVICE_GET,
		.dumpit	= wgvia_nl_device_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= WGVIA_CMD_DEVICE_SET,
		.doit		= wgvia_nl_device_set_doit,
		.policy		= wgvia_device_set_nl_policy,
		.maxattr	= WGVIA_A_DEVICE_MULTICAST,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= WGVIA_CMD_BINDING_GET,
		.dumpit		= wgvia_nl_binding_get_dumpit,
		.policy		= wgvia_binding_get_nl_policy,
		.maxattr	= WGVIA_A_BINDING_IFINDEX,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= WGVIA_CMD_DEFAULT_GET,
		.doit	= wgvia_nl_default_get_doit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= WGVIA_CMD_DEFAULT_SET,
		.doit		= wgvia_nl_default_set_doit,
		.policy		= wgvia_default_set_nl_policy,
		.maxattr	= WGVIA_A_DEVICE_MULTICAST,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= WGVIA_CMD_RESOLVE,
		.doit		= wgvia_nl_resolve_doit,
		.policy		= wgvia_resolve_nl_policy,
		.maxattr	= WGVIA_A_RESOLVE_FROM,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= WGVIA_CMD_PEER_GET,
		.dumpit		= wgvia_nl_peer_get_dumpit,
		.policy		= wgvia_peer_get_nl_policy,
		.maxattr	= WGVIA_A_PEER_IFINDEX,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
};

static const struct genl_multicast_group wgvia_nl_mcgrps[] = {
	[WGVIA_NLGRP_CONFIG] = { "config", GENL_MCAST_CAP_NET_ADMIN },
	[WGVIA_NLGRP_SESSIONS] = { "sessions", GENL_MCAST_CAP_NET_ADMIN },
	[WGVIA_NLGRP_ENDPOINTS] = { "endpoints", GENL_MCAST_CAP_NET_ADMIN },
};

struct genl_family wgvia_nl_family __ro_after_init = {
	.name		= WGVIA_FAMILY_NAME,
	.version	= WGVIA_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= wgvia_nl_ops,
	.n_split_ops	= ARRAY_SIZE(wgvia_nl_ops),
	.mcgrps		= wgvia_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(wgvia_nl_mcgrps),
};
