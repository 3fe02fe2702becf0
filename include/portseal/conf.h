/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf -- a configuration file read through a table: name, type, range, default; everything else is an error.
 *
 * The file's syntax is libconfig's. Each program has one table that says what may stand in it; from it come the values,
 * the defaults and the errors: "relay.conf:14: services.target: "tpc://..." is not tcp://HOST:PORT, ...".
 * Unknown keys are errors, with the nearest known key suggested. @include is refused (one file is one generation).
 *
 * Owns:   in struct conf, every string and array that a table filled in; they live until conf_free.
 */
#ifndef PORTSEAL_CONF_H
#define PORTSEAL_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

struct conf;

enum conf_type {
	CONF_STRING,   /* const char *                                   */
	CONF_PATH,     /* const char *, made relative to the file's own directory */
	CONF_BOOL,     /* bool                                           */
	CONF_COUNT,    /* uint64_t in [min, max]                         */
	CONF_DURATION, /* uint64_t milliseconds in [min, max]: a string "5s" */
	CONF_SIZE,     /* uint64_t bytes in [min, max]: a string "64K" or a number */
	CONF_STRINGS,  /* struct conf_strings: ["a", "b"] or one string  */
	CONF_PATHS,    /* struct conf_strings: the same, of paths        */
	CONF_GROUP,    /* a nested struct, described by `keys`           */
	CONF_LIST,     /* struct conf_list of nested structs: ( {...}, {...} ) */
	CONF_CUSTOM,   /* a string handed to `parse`, which writes the field itself */
	CONF_REFUSED,  /* a known key that this version cannot honour: default_text says what to do instead */
};

struct conf_strings {
	const char **at;
	size_t n;
};

struct conf_list {
	void *at; /* n structs of the element's size, zeroed before their keys were read */
	size_t n;
};

struct conf_key {
	const char *name; /* NULL ends a table */
	enum conf_type type;
	size_t offset; /* of the field in the enclosing struct */
	bool required;
	uint64_t min, max;           /* COUNT, DURATION, SIZE; LIST, STRINGS, PATHS: number of elements; max 0: no bound */
	const char *default_text;    /* as a person would write it; NULL: the field stays zero */
	const struct conf_key *keys; /* GROUP, LIST */
	size_t element_size;         /* LIST */
	/* CUSTOM: fills *field from the text, which lives until conf_free (so does a default). Other types: an additional
	 * check when set, with text NULL and the field filled; GROUP: of the nested struct; LIST: of each element in turn. */
	enum ps_err (*parse)(const char *text, void *field, struct ps_cause *cause);
	size_t line_offset; /* LIST: where in an element an `unsigned` receives its line, (size_t)-1 for nowhere */
};

#define CONF_NO_LINE ((size_t)-1)

#define CONF_FILE_MAX ((size_t)1024 * 1024)

/* Reads `path` into the struct at `target` (zeroed by the caller). PS_E_CONFIG with the cause "FILE:LINE: key: ...",
 * PS_E_IO when the file cannot be read, PS_E_LIMIT when it is larger than CONF_FILE_MAX. *conf owns what `target` points
 * to. A key that stands twice, @include, control bytes and empty strings are errors. */
enum ps_err conf_load(const char *path, const struct conf_key *keys, void *target, struct conf **conf,
                      struct ps_cause *cause) PS_MUST_CHECK;

/* The same for `len` bytes of text that was read already; `path` is what errors call it, and paths are relative to its
 * directory. */
enum ps_err conf_parse(const char *text, size_t len, const char *path, const struct conf_key *keys, void *target,
                       struct conf **conf, struct ps_cause *cause) PS_MUST_CHECK;

/* Fills `target` with the table's defaults alone (a sender run without a file). */
enum ps_err conf_defaults(const struct conf_key *keys, void *target, struct conf **conf, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Fills a field from the command line by the rules of its key's row (all but GROUP, LIST, STRINGS and PATHS): borrows `text`;
 * the cause starts with the option ("--timeout: ..."). */
enum ps_err conf_option(const struct conf_key *key, const char *option, const char *text, void *field,
                        struct ps_cause *cause) PS_MUST_CHECK;

/* Zeroed memory that lives until conf_free, or NULL. */
void *conf_alloc(struct conf *conf, size_t n, size_t size);

/* Sets the cause "FILE:LINE: ..." for what only the whole shows (a name twice, say); returns PS_E_CONFIG. */
enum ps_err conf_fail(const struct conf *conf, unsigned line, struct ps_cause *cause, const char *format, ...)
	PS_PRINTF(4, 5);

/* The directory that the file's paths are relative to, "" for the working directory. */
const char *conf_dir(const struct conf *conf);

void conf_free(struct conf *conf);

#endif
