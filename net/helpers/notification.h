/* SPDX-License-Identifier: GPL-2.0 */
/* Notifications of the generic netlink family, for ../bindings_helper.h */

#ifndef _WGVIA_HELPERS_NOTIFICATION_H
#define _WGVIA_HELPERS_NOTIFICATION_H

#include <linux/spinlock.h>
#include <net/genetlink.h>
#include <net/netns/generic.h>

#include <uapi/linux/wgvia.h>

/* The notifications of a network namespace: how many there were of each group, and
 * the lock under which they are numbered, written and sent, so that a listener gets
 * them in order.
 */
struct notifications {
	spinlock_t lock;	/* of seq, and from numbering a message to sending it */
	u32 seq[WGVIA_NLGRP_ENDPOINTS + 1];
};

static unsigned int notifications_id;

static int __net_init notifications_init(struct net *net)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_lock_init(&all->lock);
	return 0;
}

static struct pernet_operations notifications_ops = {
	.init = notifications_init,
	.id = &notifications_id,
	.size = sizeof(struct notifications),
};

static inline int wgvia_notifications_register(void)
{
	return register_pernet_subsys(&notifications_ops);
}

static inline void wgvia_notifications_unregister(void)
{
	unregister_pernet_subsys(&notifications_ops);
}

static inline bool wgvia_notification_wanted(const struct genl_family *family,
					     struct net *net, u32 group)
{
	return genl_has_listeners(family, net, group);
}

/* Returns the number of the notification, with the lock held */
static inline u32 wgvia_notification_begin(struct net *net, u32 group)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_lock_bh(&all->lock);
	return ++all->seq[group];
}

static inline void wgvia_notification_end(struct net *net)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_unlock_bh(&all->lock);
}

static inline struct sk_buff *wgvia_notification_new(void)
{
	return genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_ATOMIC);
}

static inline void wgvia_notification_send(const struct genl_family *family,
					   struct net *net, struct sk_buff *skb,
					   u32 group)
{
	/* A listener whose buffer is full gets to know from its socket. */
	genlmsg_multicast_netns(family, net, skb, 0, group, GFP_ATOMIC);
}

/* As for a listener whose buffer is full */
static inline void wgvia_notification_lost(const struct genl_family *family,
					   struct net *net, u32 group)
{
	genl_set_err(family, net, 0, group, -ENOBUFS);
}

#endif /* _WGVIA_HELPERS_NOTIFICATION_H */
