# How a library, a test binary and a tool of this project are declared. One line of dependencies
# each: the arrows of docs/ARCHITECTURE.md can be read from the CMakeLists.txt files alone.

option(PANGU_BENCH "build bench/" ON)
option(PANGU_FUZZ "build the libFuzzer targets" OFF)
set(PANGU_SANITIZE "" CACHE STRING "value for -fsanitize=, for example address,undefined")

find_program(CCACHE ccache)
if(CCACHE)
  # The sloppiness settings and -fno-pch-timestamp make precompiled headers cacheable.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CCACHE})
endif()

# -fPIC everywhere: libraries and programs can share one precompiled header.
add_compile_options(-fPIC -Xclang -fno-pch-timestamp -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_link_options(-fuse-ld=lld-19)
if(PANGU_SANITIZE)
  add_compile_options(-fsanitize=${PANGU_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PANGU_SANITIZE})
endif()

set(PANGU_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-missing-designated-field-initializers
    -Werror)

find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(Threads REQUIRED)
find_package(GTest REQUIRED)

# Every library shares one precompiled header; so do all tests (src/base/pch.h, tests/pch.h).
function(pangu_pch target)
  if(TARGET pangu_pch_base AND NOT target STREQUAL "pangu_pch_base")
    target_precompile_headers(${target} REUSE_FROM pangu_pch_base)
  endif()
endfunction()

# pangu_library(base SOURCES a.cc b.cc DEPS x y LINK fmt::fmt)
function(pangu_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_library(pangu_${name} STATIC ${ARG_SOURCES})
  target_include_directories(pangu_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(pangu_${name} PRIVATE ${PANGU_WARNINGS})
  list(TRANSFORM ARG_DEPS PREPEND pangu_)
  target_link_libraries(pangu_${name} PUBLIC ${ARG_DEPS} ${ARG_LINK} fmt::fmt Threads::Threads)
  pangu_pch(pangu_${name})
endfunction()

# pangu_test(base SOURCES a_test.cc DEPS base): one gtest binary a module, one CTest entry.
function(pangu_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LINK;LABELS" ${ARGN})
  add_executable(${name}_test ${ARG_SOURCES})
  target_compile_options(${name}_test PRIVATE ${PANGU_WARNINGS})
  list(TRANSFORM ARG_DEPS PREPEND pangu_)
  target_link_libraries(${name}_test PRIVATE ${ARG_DEPS} ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name}_test REUSE_FROM pangu_pch_test)
  add_test(NAME ${name} COMMAND ${name}_test --gtest_brief=1)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}")
endfunction()

# A binary that pulls a whole library in and is given only its declared dependencies: an undeclared
# arrow between rooms fails to link.
function(pangu_link_test name)
  add_executable(link_${name} ${CMAKE_SOURCE_DIR}/tests/link_main.cc)
  target_link_libraries(link_${name} PRIVATE
    -Wl,--whole-archive $<TARGET_FILE:pangu_${name}> -Wl,--no-whole-archive pangu_${name})
  add_dependencies(link_${name} pangu_${name})
endfunction()
