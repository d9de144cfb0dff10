/* The floor of `make bench`: what a PID 1 cannot do without, as straight as C says it. Mounts, DHCP, sshd, one service; no supervision. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static void say(const char *what) { struct timespec t; clock_gettime(CLOCK_BOOTTIME, &t); printf("@ %s %ld.%03ld\n", what, (long)t.tv_sec, t.tv_nsec / 1000000); fflush(stdout); }
static unsigned char mac[6];
static int dhcp(int s, int type, unsigned char *offer) { /* one question, one answer; the answer stays in offer */
    unsigned char q[300] = {1, 1, 6, 0, 's', 'k', 'r', 'y'}, *o = q + 240; struct sockaddr_in to = {AF_INET, htons(67), {INADDR_BROADCAST}};
    q[10] = 0x80; memcpy(q + 28, mac, 6); memcpy(q + 236, "\x63\x82\x53\x63", 4); memcpy(o, (unsigned char[]){53, 1, type}, 3); o += 3;
    if (type == 3) { *o++ = 50; *o++ = 4; memcpy(o, offer + 16, 4); o += 4; memcpy(o, (unsigned char[]){54, 4, 10, 0, 2, 2}, 6); o += 6; }
    *o = 255; sendto(s, q, sizeof q, 0, (void *)&to, sizeof to); return recv(s, offer, 1024, 0) > 240; }
static void address(int s, unsigned long what, unsigned ip) { struct ifreq r = {.ifr_name = "eth0"}; ((struct sockaddr_in *)&r.ifr_addr)->sin_family = AF_INET; ((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr = ip; ioctl(s, what, &r); }
int main(void) {
    say("exec"); sethostname("floor", 5);
    mount("proc", "/proc", "proc", 0, 0); mount("sys", "/sys", "sysfs", 0, 0); mount("dev", "/dev", "devtmpfs", 0, 0); mount("cg", "/sys/fs/cgroup", "cgroup2", 0, 0);
    mkdir("/dev/pts", 0755); mount("pts", "/dev/pts", "devpts", 0, 0); mount("tmp", "/tmp", "tmpfs", 0, 0); mkdir("/run/sshd", 0755);
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP}; int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1; ioctl(s, SIOCSIFFLAGS, &r);
    strcpy(r.ifr_name, "eth0"); r.ifr_flags = IFF_UP; ioctl(s, SIOCSIFFLAGS, &r); ioctl(s, SIOCGIFHWADDR, &r); memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    struct timeval patience = {0, 200000}; setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof on); setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5); struct sockaddr_in me = {AF_INET, htons(68), {0}}; bind(s, (void *)&me, sizeof me);
    if (!fork()) { execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-h", "/run/bench/hostkey", "-o", "UsePAM=no", (char *)0); _exit(1); }
    unsigned char offer[1024]; while (!dhcp(s, 1, offer)) ; while (!dhcp(s, 3, offer)) ;
    unsigned ip; memcpy(&ip, offer + 16, 4); address(s, SIOCSIFADDR, ip); address(s, SIOCSIFNETMASK, htonl(0xffffff00));
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY}; ((struct sockaddr_in *)&route.rt_dst)->sin_family = AF_INET; ((struct sockaddr_in *)&route.rt_genmask)->sin_family = AF_INET;
    *(struct sockaddr_in *)&route.rt_gateway = (struct sockaddr_in){AF_INET, 0, {htonl(0x0a000202)}}; ioctl(s, SIOCADDRT, &route);
    struct sockaddr_in ssh = {AF_INET, htons(22), {htonl(INADDR_LOOPBACK)}}; struct timespec moment = {0, 2000000}; /* up is who takes calls */
    for (int c = -1; c < 0; close(c)) { c = socket(AF_INET, SOCK_STREAM, 0); if (!connect(c, (void *)&ssh, sizeof ssh)) break; close(c); c = -1; nanosleep(&moment, 0); }
    if (!fork()) { say("svc"); _exit(0); }
    for (;;) pause();
}
