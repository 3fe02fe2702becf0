/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portseal-certs -- a small certificate authority: its commands, one row each.
 */
#include "cli.h"

static const struct args_command commands[] = {
	{ "init", "[--dir DIR] [--name NAME] [--days N] [--password-file F]", "make an authority", command_init },
	{ "relay", "NAME [--dns D]... [--ip I]... [--days N]", "make a relay's certificate and key", command_relay },
	{ "sender", "NAME [--uri U]... [--dns D]... [--ou OU] [--days N]", "make a sender's certificate and key",
	  command_sender },
	{ "sign", "CSR --as relay|sender [--name NAME] [--copy-names]", "sign a request: the key stays on its host",
	  command_sign },
	{ "renew", "NAME [--days N] [--new-key]", "fresh certificate, same names; the old one stays valid until revoked",
	  command_renew },
	{ "revoke", "NAME | --serial HEX [--reason R]", "revoke certificates and write a new ca.crl", command_revoke },
	{ "crl", "[--days N]", "write a fresh ca.crl", command_crl },
	{ "list", "[--json]", "show what was issued", command_list },
	{ "show", "FILE...", "explain certificates, requests, CRLs and keys", command_show },
	{ NULL, NULL, NULL, NULL },
};

int main(int argc, char **argv)
{
	return cli_main(commands, argc, argv);
}
