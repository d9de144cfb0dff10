# What every interactive shell begins with.
[ -z "$PS1" ] && return
shopt -s checkwinsize histappend
if [ "$(id -u)" -eq 0 ]; then PS1='\h:\w# '; else PS1='\u@\h:\w\$ '; fi
[ -r /etc/profile.d/10-skerry.sh ] && . /etc/profile.d/10-skerry.sh
