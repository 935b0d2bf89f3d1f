#!/bin/sh
ls "$LYFTLEARN_INPUTS_DIR"
