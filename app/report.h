// `trireme report`: what runs have measured, as one page that needs nothing else.
#pragma once

#include <string>

#include "app/configuration.h"

namespace trireme {

/// The page. Refuses a run that cannot be read, naming the file.
std::string report_page(const ReportOptions& options);

}  // namespace trireme
