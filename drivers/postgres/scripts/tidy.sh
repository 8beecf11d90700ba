# Deletes a folder that a rebuild moved aside, $old, in the background. Only ever one of $work/old.*.
case $old in "$work"/old.*) ;; *) exit 75 ;; esac
[ -d "$old" ] && detach rm -rf "$old"
exit 0
