# SPDX-License-Identifier: Apache-2.0
#
# portseal_options -- how Portseal's own code is compiled and linked: dialect, warnings, hardening, sanitizers, coverage.
# Each flag is used where the compiler knows it. The hardening follows the OpenSSF's guide for C.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)

check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(portseal_options INTERFACE)
target_compile_definitions(portseal_options INTERFACE _GNU_SOURCE PS_VERSION="${PROJECT_VERSION}")

function(portseal_compile)
    foreach(flag IN LISTS ARGN)
        string(MAKE_C_IDENTIFIER "compiles_with${flag}" known)
        check_c_compiler_flag("${flag}" ${known})
        if(${known})
            target_compile_options(portseal_options INTERFACE "${flag}")
        endif()
    endforeach()
endfunction()

function(portseal_link)
    foreach(flag IN LISTS ARGN)
        string(MAKE_C_IDENTIFIER "links_with${flag}" known)
        check_linker_flag(C "${flag}" ${known})
        if(${known})
            target_link_options(portseal_options INTERFACE "${flag}")
        endif()
    endforeach()
endfunction()

# Fills variables that the code left unset. clang 14 and 15 want to be talked into it.
function(portseal_zero_init)
    set(zero -ftrivial-auto-var-init=zero)
    set(talk -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
    check_c_compiler_flag(${zero} zero_init_plain)
    if(zero_init_plain)
        target_compile_options(portseal_options INTERFACE ${zero})
        return()
    endif()
    check_c_compiler_flag("${talk} ${zero}" zero_init_talked)
    if(zero_init_talked)
        target_compile_options(portseal_options INTERFACE ${talk} ${zero})
    endif()
endfunction()

portseal_compile(
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wformat=2 -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wcast-qual -Wpointer-arith -Wwrite-strings -Wundef -Wimplicit-fallthrough
    -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion)
if(PORTSEAL_WERROR)
    target_compile_options(portseal_options INTERFACE -Werror)
endif()

portseal_compile(
    -fstack-protector-strong -fstack-clash-protection
    -fno-strict-overflow -fno-strict-aliasing -fno-delete-null-pointer-checks)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    portseal_compile(-fcf-protection=full)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    portseal_compile(-mbranch-protection=standard)
endif()
portseal_link(
    -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,nodlopen -Wl,--as-needed -Wl,--no-copy-dt-needed-entries)

# assert() states what our own code guarantees; a release that finds it broken stops rather than going on.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")

if(PORTSEAL_SANITIZE OR PORTSEAL_FUZZ)
    # Unset variables stay unset here, or no tool could report their use.
    target_compile_options(portseal_options INTERFACE -fno-omit-frame-pointer)
    if(PORTSEAL_SANITIZE)
        set(sanitize "-fsanitize=${PORTSEAL_SANITIZE}" -fno-sanitize-recover=all)
        target_compile_options(portseal_options INTERFACE ${sanitize})
        target_link_options(portseal_options INTERFACE ${sanitize})
    endif()
    if(PORTSEAL_FUZZ)
        target_compile_options(portseal_options INTERFACE -fsanitize=fuzzer-no-link)
    endif()
else()
    portseal_zero_init()
    if(CMAKE_BUILD_TYPE STREQUAL "Release")
        # Distributions may define a lower level already, which would be a warning.
        target_compile_options(portseal_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
    endif()
endif()

if(PORTSEAL_COVERAGE)
    # Processes and threads count into the same files.
    target_compile_options(portseal_options INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(portseal_options INTERFACE --coverage)
endif()
