// SPDX-License-Identifier: GPL-2.0
/*
 * Takes the type of lightweight tunnel that wgvia takes on a stock kernel, so that
 * wgvia does not get it.
 */

#include <linux/module.h>
#include <net/lwtunnel.h>

static const struct lwtunnel_encap_ops encap_ops = { .owner = THIS_MODULE };

static int __init rival_init(void)
{
	return lwtunnel_encap_add_ops(&encap_ops, LWTUNNEL_ENCAP_IOAM6) ? -EBUSY : 0;
}

static void __exit rival_exit(void)
{
	lwtunnel_encap_del_ops(&encap_ops, LWTUNNEL_ENCAP_IOAM6);
}

module_init(rival_init);
module_exit(rival_exit);
MODULE_DESCRIPTION("Takes what wgvia wants");
MODULE_LICENSE("GPL");
