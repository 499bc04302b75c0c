# Finds the headers of the Mesos at MESOS_ROOT, and says which source is for it.
# Sets MESOS_VERSION, MESOS_SOURCE, MESOS_INCLUDE_DIRS, MESOS_DEFINITIONS.

# The first release of each API generation, and its source; the newest first.
set(MESOS_GENERATIONS
  1.10.0 mesos-1.10
  1.7.0  mesos-1.7
  0.27.0 mesos-0.27
  0.26.0 mesos-0.26
  0.24.0 mesos-0.24
  0.23.0 mesos-0.23)
set(MESOS_NEWEST 1.11)

if(NOT IS_DIRECTORY "${MESOS_ROOT}")
  message(FATAL_ERROR "MESOS_ROOT=${MESOS_ROOT} is no directory: name where Mesos is installed, or its built source tree")
endif()
get_filename_component(MESOS_ROOT "${MESOS_ROOT}" ABSOLUTE)
if(NOT MESOS_BUILD)
  set(MESOS_BUILD "${MESOS_ROOT}/build")
  if(NOT EXISTS "${MESOS_BUILD}/include/mesos/version.hpp")
    set(MESOS_BUILD "${MESOS_ROOT}")
  endif()
endif()
get_filename_component(MESOS_BUILD "${MESOS_BUILD}" ABSOLUTE)

# Where an installed tree and a source tree have their own headers, and those
# that they bring along: libprocess's until 0.28 are one directory deeper.
set(_own
  "${MESOS_BUILD}/include" "${MESOS_ROOT}/include"
  "${MESOS_ROOT}/3rdparty/libprocess/include"
  "${MESOS_ROOT}/3rdparty/stout/include"
  "${MESOS_ROOT}/3rdparty/libprocess/3rdparty/stout/include")
file(GLOB _bundled
  "${MESOS_ROOT}/${CMAKE_INSTALL_LIBDIR}/mesos/3rdparty/include" "${MESOS_ROOT}/lib/mesos/3rdparty/include"
  "${MESOS_BUILD}/3rdparty/*-[0-9]*" "${MESOS_BUILD}/3rdparty/*-[0-9]*/src"
  "${MESOS_BUILD}/3rdparty/*-[0-9]*/src/*-[0-9]*" "${MESOS_BUILD}/3rdparty/*-[0-9]*/src/*-[0-9]*/src"
  "${MESOS_BUILD}/3rdparty/libprocess/3rdparty/*-[0-9]*" "${MESOS_BUILD}/3rdparty/libprocess/3rdparty/*-[0-9]*/src")

set(MESOS_INCLUDE_DIRS)
function(_mesos_find header why)
  string(MAKE_C_IDENTIFIER "MESOS_DIR_${header}" variable)
  find_path(${variable} "${header}" PATHS ${_own} ${_bundled} NO_DEFAULT_PATH)
  find_path(${variable} "${header}")
  if(NOT ${variable})
    message(FATAL_ERROR "there is no <${header}> for the Mesos at ${MESOS_ROOT}: ${why}")
  endif()
  set(MESOS_INCLUDE_DIRS ${MESOS_INCLUDE_DIRS} "${${variable}}" PARENT_SCOPE)
endfunction()

_mesos_find(mesos/version.hpp "install Mesos's headers there (make install), or build the source tree, and set MESOS_ROOT")
_mesos_find(mesos/mesos.hpp "set MESOS_ROOT to the source tree that this build directory is of")
_mesos_find(mesos/mesos.pb.h "build the tree: protoc makes it (make -C build/src ../include/mesos/mesos.pb.h)")
_mesos_find(process/future.hpp "they come with Mesos's make install")
_mesos_find(stout/json.hpp "they come with Mesos's make install")
_mesos_find(google/protobuf/message.h
  "install libprotobuf-dev of the version that Mesos was built with, or configure Mesos with --enable-install-module-dependencies")
_mesos_find(glog/logging.h "install libgoogle-glog-dev, or configure Mesos with --enable-install-module-dependencies")
_mesos_find(boost/variant.hpp "install libboost-dev, or configure Mesos with --enable-install-module-dependencies")
_mesos_find(picojson.h "install libpicojson-dev, or configure Mesos with --enable-install-module-dependencies")
list(REMOVE_DUPLICATES MESOS_INCLUDE_DIRS)
# Of these, releases include more than the nine above.
foreach(_directory ${_own} ${_bundled})
  foreach(_more http_parser.h elfio/elfio.hpp ev.h rapidjson/document.h)
    if(EXISTS "${_directory}/${_more}")
      list(APPEND MESOS_INCLUDE_DIRS "${_directory}")
    endif()
  endforeach()
endforeach()
list(REMOVE_ITEM MESOS_INCLUDE_DIRS "/usr/include")

file(STRINGS "${MESOS_DIR_mesos_version_hpp}/mesos/version.hpp" _line REGEX "define MESOS_VERSION \"")
string(REGEX MATCH "\"([0-9]+\\.[0-9]+\\.[0-9]+)[^\"]*\"" _line "${_line}")
set(_number "${CMAKE_MATCH_1}")
string(REPLACE "\"" "" MESOS_VERSION "${_line}")
if(NOT _number)
  message(FATAL_ERROR "${MESOS_DIR_mesos_version_hpp}/mesos/version.hpp does not say which version it is of")
endif()

set(MESOS_SOURCE)
set(_rest ${MESOS_GENERATIONS})
while(_rest AND NOT MESOS_SOURCE)
  list(GET _rest 0 _first)
  list(GET _rest 1 _source)
  list(REMOVE_AT _rest 0 1)
  if(NOT _number VERSION_LESS _first)
    set(MESOS_SOURCE ${_source})
  endif()
endwhile()
if(NOT MESOS_SOURCE)
  message(FATAL_ERROR "Mesos ${MESOS_VERSION} has no modules: 0.23.0 is the first that has")
endif()
if(_number VERSION_GREATER_EQUAL ${MESOS_NEWEST}.99 OR _number VERSION_GREATER_EQUAL 1.12)
  message(WARNING "Mesos ${MESOS_VERSION} is newer than ${MESOS_NEWEST}, the last that this was tried with")
endif()

# libmesos is compiled with it from 0.25 on; from 1.7 on its headers define it.
set(MESOS_DEFINITIONS)
if(NOT _number VERSION_LESS 0.25.0 AND _number VERSION_LESS 1.7.0)
  set(MESOS_DEFINITIONS PICOJSON_USE_INT64)
endif()
message(STATUS "Mesos ${MESOS_VERSION}: generations/${MESOS_SOURCE}.cpp")
