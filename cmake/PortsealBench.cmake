# SPDX-License-Identifier: Apache-2.0
#
# portseal-load -- the load generator of `make bench`; its suite of tests keeps it right, so it is built with them.
file(GLOB bench_sources CONFIGURE_DEPENDS tests/bench/*.c)
list(FILTER bench_sources EXCLUDE REGEX "/(main|test_[^/]*)\\.c$")
portseal_library(portseal_bench SOURCES ${bench_sources} INCLUDES "${PROJECT_SOURCE_DIR}/tests/bench")
add_executable(portseal-load tests/bench/main.c)
target_link_libraries(portseal-load PRIVATE portseal_bench portseal_options)
set_target_properties(portseal-load PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/bench")
