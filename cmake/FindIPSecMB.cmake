# SPDX-License-Identifier: Apache-2.0
#
# Finds intel-ipsec-mb by its files, as it brings nothing for pkg-config, and judges its version by its own header. It
# exists for x86-64 only, and Portseal works without it. Gives IPSecMB::ipsec_mb.
find_path(IPSECMB_INCLUDE_DIR intel-ipsec-mb.h)
find_library(IPSECMB_LIBRARY IPSec_MB)
mark_as_advanced(IPSECMB_INCLUDE_DIR IPSECMB_LIBRARY)

set(IPSecMB_VERSION "")
if(IPSECMB_INCLUDE_DIR)
    file(STRINGS "${IPSECMB_INCLUDE_DIR}/intel-ipsec-mb.h" version_line REGEX "^#define IMB_VERSION_STR +\"[0-9.]+")
    string(REGEX REPLACE ".*\"([0-9.]+).*" "\\1" IPSecMB_VERSION "${version_line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(IPSecMB
    REQUIRED_VARS IPSECMB_LIBRARY IPSECMB_INCLUDE_DIR
    VERSION_VAR IPSecMB_VERSION
    REASON_FAILURE_MESSAGE "Records are sealed by Mbed TLS, which is slower")

if(IPSecMB_FOUND AND NOT TARGET IPSecMB::ipsec_mb)
    add_library(IPSecMB::ipsec_mb UNKNOWN IMPORTED)
    set_target_properties(IPSecMB::ipsec_mb PROPERTIES
        IMPORTED_LOCATION "${IPSECMB_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${IPSECMB_INCLUDE_DIR}")
endif()
