# SPDX-License-Identifier: Apache-2.0
#
# Finds Mbed TLS by pkg-config or by its files, and judges its version by its own header: releases before 3.6 cannot
# serve TLS 1.3. Gives MbedTLS::mbedtls, which brings mbedx509 and mbedcrypto along.
pkg_check_modules(PC_MBEDTLS QUIET mbedtls mbedx509 mbedcrypto)

find_path(MBEDTLS_INCLUDE_DIR mbedtls/ssl.h HINTS ${PC_MBEDTLS_INCLUDE_DIRS})
foreach(part IN ITEMS mbedtls mbedx509 mbedcrypto)
    find_library(${part}_LIBRARY ${part} HINTS ${PC_MBEDTLS_LIBRARY_DIRS})
endforeach()
mark_as_advanced(MBEDTLS_INCLUDE_DIR mbedtls_LIBRARY mbedx509_LIBRARY mbedcrypto_LIBRARY)

set(MbedTLS_VERSION "")
foreach(header IN ITEMS build_info.h version.h) # the latter: before 3.0
    if(MBEDTLS_INCLUDE_DIR AND NOT MbedTLS_VERSION AND EXISTS "${MBEDTLS_INCLUDE_DIR}/mbedtls/${header}")
        file(STRINGS "${MBEDTLS_INCLUDE_DIR}/mbedtls/${header}" version_line
            REGEX "^#define MBEDTLS_VERSION_STRING +\"[0-9.]+\"")
        string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" MbedTLS_VERSION "${version_line}")
    endif()
endforeach()

set(mbedtls_advice "Run packaging/install-deps, or name the prefix of an Mbed TLS of your own: make CMAKE_PREFIX_PATH=/that/prefix")
if(MbedTLS_VERSION AND MbedTLS_FIND_VERSION AND MbedTLS_VERSION VERSION_LESS MbedTLS_FIND_VERSION)
    # Not kept: the next run shall look again, after the advice was followed.
    set(found_version "${MbedTLS_VERSION}")
    foreach(entry IN ITEMS MBEDTLS_INCLUDE_DIR mbedtls_LIBRARY mbedx509_LIBRARY mbedcrypto_LIBRARY)
        unset(${entry} CACHE)
    endforeach()
    message(FATAL_ERROR
        "Mbed TLS ${found_version} is too old: Portseal speaks TLS 1.3 on both sides, which needs ${MbedTLS_FIND_VERSION} or later.\n${mbedtls_advice}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MbedTLS
    REQUIRED_VARS mbedtls_LIBRARY mbedx509_LIBRARY mbedcrypto_LIBRARY MBEDTLS_INCLUDE_DIR
    VERSION_VAR MbedTLS_VERSION
    REASON_FAILURE_MESSAGE "${mbedtls_advice}")

if(MbedTLS_FOUND AND NOT TARGET MbedTLS::mbedtls)
    foreach(part IN ITEMS mbedcrypto mbedx509 mbedtls)
        add_library(MbedTLS::${part} UNKNOWN IMPORTED)
        set_target_properties(MbedTLS::${part} PROPERTIES
            IMPORTED_LOCATION "${${part}_LIBRARY}"
            INTERFACE_INCLUDE_DIRECTORIES "${MBEDTLS_INCLUDE_DIR}")
    endforeach()
    target_link_libraries(MbedTLS::mbedx509 INTERFACE MbedTLS::mbedcrypto)
    target_link_libraries(MbedTLS::mbedtls INTERFACE MbedTLS::mbedx509 MbedTLS::mbedcrypto)
endif()
