#pragma once
#include <string>

#include "base/result.h"

// Errors as a person reads them: error[NAME]: what happened: to which object; hint: what to do.
namespace pangu::app {

// One line without the end of line. A hint that the error carries itself ("; hint: ...") is kept;
// otherwise the usual remedy for its code is added where there is one.
std::string error_line(const Error& error);
// To stderr; clears a progress bar first.
void print_error(const Error& error);
void print_warning(std::string_view text);
// To stderr as it is. A stderr that is gone (a closed pipe) is no reason to fail.
void print_note(std::string_view text);
// To stdout. Returns an error if standard output is gone (a closed pipe, a full disk).
Status print(std::string_view text);

}  // namespace pangu::app
