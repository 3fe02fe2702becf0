# SPDX-License-Identifier: Apache-2.0
#
# Every test, found by its place and name. Without cmocka (a plain `make` on a machine that only builds) there are none.
pkg_check_modules(cmocka QUIET IMPORTED_TARGET cmocka)
if(NOT cmocka_FOUND)
    message(STATUS "cmocka is not installed: tests are left out (make test installs it)")
    return()
endif()
find_program(PORTSEAL_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(PORTSEAL_PYTHON python3 REQUIRED)

set(test_environment
    "UBSAN_OPTIONS=print_stacktrace=1"
    "ASAN_OPTIONS=detect_leaks=1"
    "PYTHONDONTWRITEBYTECODE=1"
    "PORTSEAL_BUILD=${PROJECT_BINARY_DIR}")

file(GLOB_RECURSE support_sources CONFIGURE_DEPENDS tests/support/*.c)
portseal_library(test_support
    SOURCES ${support_sources}
    INCLUDES "${PROJECT_SOURCE_DIR}/tests/support" "${PROJECT_SOURCE_DIR}/lib" # for private headers
    LINK portseal PkgConfig::cmocka)

function(portseal_test name timeout label)
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${timeout}
        LABELS "${label}"
        ENVIRONMENT "${test_environment}")
endfunction()

foreach(folder IN ITEMS lib relay sender certs bench)
    file(GLOB_RECURSE unit_sources CONFIGURE_DEPENDS tests/${folder}/test_*.c)
    foreach(source IN LISTS unit_sources)
        cmake_path(GET source STEM name)
        if(TARGET ${name})
            set(name ${folder}_${name}) # the same module name in two folders
        endif()
        add_executable(${name} ${source})
        target_link_libraries(${name} PRIVATE test_support portseal_options)
        if(NOT folder STREQUAL "lib")
            target_link_libraries(${name} PRIVATE portseal_${folder})
        endif()
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/${folder}")
        add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
        portseal_test(${name} 120 "unit;${folder}")
    endforeach()
endforeach()

# fuzz_NAME.c decodes with the library; fuzz_relay_NAME.c, fuzz_sender_... and fuzz_certs_... with that folder's code.
file(GLOB_RECURSE fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source IN LISTS fuzz_sources)
    cmake_path(GET source STEM name)
    string(REGEX REPLACE "^fuzz_" "" corpus ${name})
    set(corpus "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${corpus}")
    add_executable(${name} ${source})
    # LLVMFuzzerTestOneInput is libFuzzer's, which has no header for it. (A source's options come after the target's.)
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS -Wno-missing-prototypes)
    target_link_libraries(${name} PRIVATE test_support portseal_options)
    if(name MATCHES "^fuzz_(relay|sender|certs)_")
        target_link_libraries(${name} PRIVATE portseal_${CMAKE_MATCH_1})
    endif()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/fuzz")
    if(PORTSEAL_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        add_test(NAME ${name} COMMAND ${name} -runs=0 "${corpus}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    else()
        target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c")
        add_test(NAME ${name} COMMAND ${name} "${corpus}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    endif()
    portseal_test(${name} 120 fuzz)
endforeach()

file(GLOB_RECURSE scenarios CONFIGURE_DEPENDS tests/scenarios/scenario_*.py)
foreach(script IN LISTS scenarios)
    cmake_path(GET script STEM name)
    add_test(NAME ${name} COMMAND "${PORTSEAL_PYTHON}" "${script}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    portseal_test(${name} 300 scenario)
endforeach()

# The bench times nothing here: that its tools are right is what is tested.
add_test(NAME bench_tools COMMAND "${PORTSEAL_PYTHON}" tests/bench/test_bench.py WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
portseal_test(bench_tools 60 bench)
