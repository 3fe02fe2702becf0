/* SPDX-License-Identifier: Apache-2.0 */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "portseal/args.h"
#include "portseal/audit_verify.h"
#include "portseal/certificate.h"
#include "portseal/text.h"

#define EXIT_BAD 1
#define EXIT_USAGE 2
#define EXIT_CONFIG 3
#define PIECE 65536
#define FINDINGS_SHOWN 100
#define JSON_MAX 4096

struct command {
	const char *config;
	const char *head_text;
	const char *require_head;
	const char *json;
	struct args_list certificates;
	struct args_list files;
	/* As it goes: */
	struct audit_verify *verify;
	uint64_t n_shown;
	uint8_t head[AUDIT_HASH_LEN];
};

static const char *finding_name(enum audit_finding finding)
{
	static const char *const names[] = {
		[AUDIT_UNREADABLE] = "unreadable",
		[AUDIT_CHANGED] = "changed",
		[AUDIT_MISSING] = "missing",
		[AUDIT_MISPLACED] = "misplaced",
		[AUDIT_OTHER_TRAIL] = "other-trail",
		[AUDIT_BAD_HEAD] = "bad-signature",
		[AUDIT_UNKNOWN_KEY] = "unknown-key",
		[AUDIT_CUT_SHORT] = "cut-short",
		[AUDIT_NO_LINES] = "no-lines",
		[AUDIT_NOTE_CONTINUES] = "continues",
		[AUDIT_NOTE_TORN] = "torn",
		[AUDIT_NOTE_SET_ASIDE] = "set-aside",
		[AUDIT_NOTE_GAP] = "gap",
	};

	return names[finding];
}

static void print_json_text(const char *key, const char *value)
{
	char storage[JSON_MAX];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add_json(&text, value, strlen(value));
	printf("\"%s\":\"%s\"", key, text.at);
}

static void on_finding(void *owner, enum audit_finding finding, const char *file, uint64_t line, const char *text)
{
	struct command *command = owner;
	const char *level = AUDIT_IS_NOTE(finding) ? "note" : "BAD";
	char quoted[TEXT_QUOTED_MAX];
	char said[TEXT_QUOTED_MAX]; /* a line's own words are in it, whoever wrote that */

	if (++command->n_shown > FINDINGS_SHOWN)
		return;
	if (command->json != NULL) {
		printf("%s{\"bad\":%s,\"finding\":\"%s\",", command->n_shown == 1 ? "" : ",",
		       AUDIT_IS_NOTE(finding) ? "false" : "true", finding_name(finding));
		print_json_text("file", file);
		printf(",\"line\":%" PRIu64 ",", line);
		print_json_text("text", text);
		printf("}");
	} else if (line > 0) {
		printf("%s:%" PRIu64 ": %s: %s: %s\n", text_escaped(quoted, file), line, level, finding_name(finding),
		       text_escaped(said, text));
	} else {
		printf("%s: %s: %s: %s\n", text_escaped(quoted, file), level, finding_name(finding), text_escaped(said, text));
	}
}

static enum ps_err read_file(struct command *command, const char *path, bool is_last, struct ps_cause *cause)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char piece[PIECE];
	ssize_t n = 0;

	if (fd < 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
	audit_verify_file(command->verify, path, is_last);
	while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			audit_verify_bytes(command->verify, piece, (size_t)n);
	if (n < 0)
		ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
	else
		audit_verify_file_end(command->verify);
	close(fd);
	return n < 0 ? PS_E_IO : PS_OK;
}

/* Of --cert, else of the configuration's certificate; none: signatures are not looked at. */
static enum ps_err load_certificates(const struct command *command, struct mbedtls_x509_crt **certificates,
                                     struct ps_cause *cause)
{
	struct relay_config *config = NULL;
	enum ps_err err = PS_OK;

	if (command->config != NULL) {
		err = config_load(command->config, &config, cause);
		if (err == PS_OK)
			err = certificate_chain_new(config->tls.certificate, certificates, cause);
		config_free(config);
	}
	for (size_t i = 0; err == PS_OK && i < command->certificates.n; i++) {
		if (*certificates == NULL)
			err = certificate_chain_new(command->certificates.at[i], certificates, cause);
		else
			err = certificate_read(command->certificates.at[i], *certificates, cause);
	}
	return err;
}

static void print_text(const struct command *command, const struct audit_verdict *verdict, bool has_certificates)
{
	if (command->n_shown > FINDINGS_SHOWN)
		printf("%" PRIu64 " further findings are not shown\n", command->n_shown - FINDINGS_SHOWN);
	printf("%s: %" PRIu64 " lines in %zu file%s, numbers %" PRIu64 " to %" PRIu64 ", %" PRIu64 " found bad\n",
	       verdict->findings == 0 ? "good" : "BAD", verdict->lines, command->files.n, command->files.n == 1 ? "" : "s",
	       verdict->first_seq, verdict->last_seq, verdict->findings);
	if (verdict->lost > 0)
		printf("the relay itself says that %" PRIu64 " records were not written\n", verdict->lost);
	if (verdict->heads == 0)
		printf("NOTHING in it is signed: whoever can write the file may have made up all of it\n");
	else if (!has_certificates)
		printf("signatures were not looked at, so all of it may be made up: say -c relay.conf or --cert FILE\n");
	else if (verdict->head_seq == 0)
		printf("NOTHING in it is signed by a certificate that was given\n");
	else
		printf("signed up to number %" PRIu64 " of %s by the key %s; behind it %" PRIu64 " lines are not signed yet\n",
		       verdict->head_seq, verdict->head_time, verdict->head_key, verdict->unsigned_lines);
	if (command->head_text != NULL)
		printf("the head %.16s... is %s\n", command->head_text, verdict->head_found ? "in it" : "NOT in it");
}

static void print_json(const struct command *command, const struct audit_verdict *verdict, bool has_certificates)
{
	char hex[2 * AUDIT_HASH_LEN + 1];
	struct text text;

	text_init(&text, hex, sizeof(hex));
	text_add_hex(&text, verdict->last_chain, sizeof(verdict->last_chain));
	printf("],\"findings_shown\":%d,\"lines\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64,
	       FINDINGS_SHOWN, verdict->lines, verdict->findings, verdict->first_seq, verdict->last_seq);
	printf(",\"chain\":\"%s\",\"lost\":%" PRIu64 ",\"signatures_checked\":%s,\"heads\":%" PRIu64, hex, verdict->lost,
	       has_certificates ? "true" : "false", verdict->heads);
	printf(",\"signed_to\":%" PRIu64 ",\"signed_at\":\"%s\",\"signed_by\":\"%s\",\"unsigned\":%" PRIu64,
	       verdict->head_seq, verdict->head_time, verdict->head_key, verdict->unsigned_lines);
	if (command->head_text != NULL)
		printf(",\"head_found\":%s", verdict->head_found ? "true" : "false");
	printf("}\n");
}

static enum ps_err verify_files(struct command *command, struct mbedtls_x509_crt *certificates,
                                struct audit_verdict *verdict, struct ps_cause *cause)
{
	const struct audit_verify_config config = { .certificates = certificates,
		                                        .head = command->head_text != NULL ? command->head : NULL,
		                                        .on_finding = on_finding,
		                                        .owner = command };
	enum ps_err err = audit_verify_new(&config, &command->verify);

	if (err != PS_OK)
		return ps_cause_set(cause, err, "out of memory");
	for (size_t i = 0; i < command->files.n && err == PS_OK; i++)
		err = read_file(command, command->files.at[i], i + 1 == command->files.n, cause);
	audit_verify_verdict(command->verify, verdict);
	audit_verify_free(command->verify);
	return err;
}

static bool is_bad(const struct command *command, const struct audit_verdict *verdict)
{
	return verdict->findings > 0 || (command->head_text != NULL && !verdict->head_found) ||
	       (command->require_head != NULL && verdict->head_seq == 0);
}

static int verify(struct command *command)
{
	struct mbedtls_x509_crt *certificates = NULL;
	struct audit_verdict verdict = { .lines = 0 };
	struct ps_cause cause = { "out of memory" };
	int exit_code = EXIT_CONFIG;

	if (load_certificates(command, &certificates, &cause) != PS_OK)
		goto failed;
	if (command->json != NULL)
		printf("{\"findings\":[");
	if (verify_files(command, certificates, &verdict, &cause) != PS_OK)
		goto failed;
	if (command->json != NULL)
		print_json(command, &verdict, certificates != NULL);
	else
		print_text(command, &verdict, certificates != NULL);
	exit_code = is_bad(command, &verdict) ? EXIT_BAD : 0;
	goto done;
failed:
	if (command->json != NULL && command->verify != NULL)
		printf("],\"error\":true}\n");
	fprintf(stderr, "portseal-relay: audit: %s\n", cause.text);
done:
	certificate_chain_free(certificates);
	return exit_code;
}

static bool parse_head(const char *text, uint8_t head[static AUDIT_HASH_LEN])
{
	if (strlen(text) != 2 * AUDIT_HASH_LEN || strspn(text, "0123456789abcdefABCDEF") != 2 * AUDIT_HASH_LEN)
		return false;
	for (size_t i = 0; i < AUDIT_HASH_LEN; i++) {
		const char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };

		head[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static void print_help(const struct args_option *options)
{
	printf("usage: portseal-relay audit verify [-c FILE | --cert FILE...] [--head HEX] [--require-head] FILE...\n\n"
	       "Give the files of a trail in the order in which they were written, the oldest first; - is standard\n"
	       "input. Every line that was changed, moved, taken out or put in is printed with its place.\n\n");
	args_print_help(stdout, options);
	printf(
		"\nExit codes: 0 every line is as it was written, 1 not (or a head that was asked for is missing), 2 usage,\n"
		"3 a file or certificate cannot be read.\n");
}

int audit_main(int argc, char *const *argv)
{
	struct command command = { .config = NULL };
	const char *help = NULL;
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "the relay's configuration: its certificate checks the signatures", &command.config,
		  NULL },
		{ "cert", 0, "FILE", "a certificate of the relay, also an earlier one (may be repeated)", NULL,
		  &command.certificates },
		{ "head", 0, "HEX", "the chain of a head that was kept elsewhere: is it in the trail?", &command.head_text,
		  NULL },
		{ "require-head", 0, NULL, "a trail without one head that the relay's key signed is bad", &command.require_head,
		  NULL },
		{ "json", 0, NULL, "print one JSON object", &command.json, NULL },
		{ "help", 'h', NULL, "print this and exit", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct args_list words = { .n = 0 };
	struct ps_cause cause = { "say: audit verify FILE..." };

	if (args_parse(options, argc, argv, &words, &cause) != PS_OK)
		goto usage;
	if (help != NULL) {
		print_help(options);
		return 0;
	}
	if (words.n < 2 || strcmp(words.at[0], "verify") != 0)
		goto usage;
	for (size_t i = 1; i < words.n; i++)
		command.files.at[command.files.n++] = words.at[i];
	if (command.head_text != NULL && !parse_head(command.head_text, command.head))
		(void)ps_cause_set(&cause, PS_E_CONFIG, "--head: expected the 64 hexadecimal digits of a chain");
	else if (command.require_head != NULL && command.config == NULL && command.certificates.n == 0)
		(void)ps_cause_set(&cause, PS_E_CONFIG, "--require-head: whose? say -c relay.conf or --cert FILE");
	else
		return verify(&command);
usage:
	fprintf(stderr, "portseal-relay: audit: %s\n", cause.text);
	return EXIT_USAGE;
}
