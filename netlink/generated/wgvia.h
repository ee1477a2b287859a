/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	netlink/specs/wgvia.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: scripts/gen-uapi */

#ifndef _LINUX_WGVIA_GEN_H
#define _LINUX_WGVIA_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/wgvia.h>

int wgvia_nl_device_get_doit(struct sk_buff *skb, struct genl_info *info);
int wgvia_nl_device_get_dumpit(struct sk_buff *skb,
			       struct netlink_callback *cb);
int wgvia_nl_device_set_doit(struct sk_buff *skb, struct genl_info *info);
int wgvia_nl_binding_get_dumpit(struct sk_buff *skb,
				struct netlink_callback *cb);
int wgvia_nl_default_get_doit(struct sk_buff *skb, struct genl_info *info);
int wgvia_nl_default_set_doit(struct sk_buff *skb, struct genl_info *info);
int wgvia_nl_resolve_doit(struct sk_buff *skb, struct genl_info *info);
int wgvia_nl_peer_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);

enum {
	WGVIA_NLGRP_CONFIG,
	WGVIA_NLGRP_SESSIONS,
	WGVIA_NLGRP_ENDPOINTS,
};

extern struct genl_family wgvia_nl_family;

#endif /* _LINUX_WGVIA_GEN_H */
